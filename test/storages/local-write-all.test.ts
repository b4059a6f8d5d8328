import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { OpenFile } from '../../src/storages/local/file-system.ts';
import { advance, type Cursor, nextBatch, writeAll } from '../../src/storages/local/write-all.ts';
import { systemError } from './observed-file-system.ts';

const anyViews = fc.array(fc.uint8Array({ maxLength: 20 }), { maxLength: 20 });

it('hands every byte to the disk once and in order, however the disk takes them', () => {
  fc.assert(
    fc.property(
      anyViews,
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 16 }),
      fc.infiniteStream(fc.nat({ max: 16 })),
      (views, maxViews, maxBytes, taken) => {
        const written: number[] = [];
        const sizes = views.map(({ byteLength }) => byteLength);
        let cursor: Cursor = advance(sizes, { view: 0, offset: 0 }, 0);
        while (cursor.view < views.length) {
          const batch = nextBatch(views, sizes, cursor, maxViews, maxBytes);
          const given = batch.flatMap((view) => [...view]);
          expect(batch.length).toBeLessThanOrEqual(maxViews);
          expect(given.length).toBeLessThanOrEqual(maxBytes);
          expect(batch.every((view) => view.byteLength > 0)).toBe(true);
          expect(given.length).toBeGreaterThan(0);
          const count = Math.min(given.length, taken.next().value ?? 1);
          written.push(...given.slice(0, count));
          cursor = advance(sizes, cursor, count);
        }
        expect(written).toEqual(views.flatMap((view) => [...view]));
      },
    ),
  );
});

it('gives views without copying them', () => {
  const views = [new Uint8Array(10), new Uint8Array(10)];
  const batch = nextBatch(views, [10, 10], { view: 0, offset: 3 });
  expect(batch.map(({ buffer }) => buffer)).toEqual(views.map(({ buffer }) => buffer));
  expect(batch[0]?.buffer).toBe(views[0]?.buffer);
  expect(batch[0]?.byteOffset).toBe(3);
});

/** A file of which only `writev` is used. */
function fileWith(writev: OpenFile['writev']): OpenFile {
  return { writev } as OpenFile;
}

it('puts at most 1,000 views into one call, at the place where the last one ended', async () => {
  const calls: [views: number, position: number | undefined][] = [];
  const file = fileWith(async (views, position) => {
    calls.push([views.length, position]);
    return views.length;
  });
  const views = Array.from({ length: 2001 }, () => new Uint8Array(1));
  await writeAll(file, views, 50);
  await writeAll(file, views.slice(0, 1), undefined);
  expect(calls).toEqual([
    [1000, 50],
    [1000, 1050],
    [1, 2050],
    [1, undefined],
  ]);
});

it('goes on after interruptions, but not for ever', async () => {
  let calls = 0;
  const patient = fileWith(async () => {
    calls += 1;
    if (calls < 5) throw systemError(calls % 2 ? 'EINTR' : 'EAGAIN');
    return 1;
  });
  await writeAll(patient, [new Uint8Array(1)], 0);
  expect(calls).toBe(5);
  const stuck = fileWith(async () => 0);
  await expect(writeAll(stuck, [new Uint8Array(1)], 0)).rejects.toMatchObject({ code: 'EAGAIN' });
});
