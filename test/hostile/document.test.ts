import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOSTILE, type Path, pathsIn, replaceAt } from './hostile-values.ts';
import { RichRun } from './rich-run.ts';

let run: RichRun;
let paths: readonly Path[];
beforeAll(async () => {
  run = await RichRun.begin();
  paths = [...pathsIn(run.parts.document)];
});
afterAll(() => run.end());

/** The first place whose keys end like this. */
function placeOf(...keys: Path): Path {
  const path = paths.find((path) => keys.every((key, i) => path.at(i - keys.length) === key));
  if (path === undefined) throw new Error(`${keys.join('.')} is not in the document`);
  return path;
}

describe('a checkpoint with right checksums and a document of the worst kind', () => {
  it('is trained on from when nothing is changed', async () => {
    expect(paths.length).toBeGreaterThan(150);
    run.reset(run.parts);
    await run.resume();
    expect(run.damage()).toBeUndefined();
  });

  it('is refused by its name, or trained on from, whatever stands wherever', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom(...HOSTILE), async (n, value) => {
        const path = paths[n % paths.length] as Path;
        const document = replaceAt(run.parts.document, path, value);
        expect([path, await run.complaint(document)]).toEqual([path, undefined]);
      }),
      { numRuns: 40 },
    );
  });

  it.each<[string, Path, unknown, RegExp]>([
    ['loops', ['loops', 'next'], 'nowhere', /loop state holds "nowhere" as next/],
    ['a count', ['loops', 'globalStep'], -1, /loop state holds -1 as globalStep/],
    [
      'metrics',
      ['metrics', 'visible', 0],
      ['loss', '1', 1, true, true],
      /metrics hold \["loss","1"/,
    ],
    ['elapsed time', ['elapsedMs'], { valueOf: 1 }, /holds \{"valueOf":1\} as elapsedMs/],
    ['names of the save', ['save', 'names'], 'abc', /holds "abc" as save\.names/],
    ['removals of the save', ['save', 'removals'], [1], /holds \[1\] as save\.removals/],
    ['callbacks', ['callbacks'], 7, /holds 7 as callbacks/],
    ['a schedule', ['lrSchedulers', 0], null, /the stored schedule is null/],
    ['random numbers', ['rng', 'counter'], -1, /"counter":-1.* is not the state of a generator/],
    [
      'the data',
      ['dataloaders', 'train', 'state', 'items'],
      { toString: 1 },
      /items \{"toString":1\}/,
    ],
    ['a logger', ['loggers', 0, 'position', 'rows'], 0.5, /position is .*0\.5/],
  ])('is refused by file and field when %s cannot be', async (_, path, value, message) => {
    run.reset({ ...run.parts, document: replaceAt(run.parts.document, path, value as never) });
    const attempt = run.resume();
    await expect(attempt).rejects.toThrow(message);
    await expect(attempt).rejects.toThrow(run.file);
  });

  it('pollutes no prototype, wherever it names one', async () => {
    const polluting = JSON.parse(
      '{"constructor":{"prototype":{"polluted":1}},"prototype":{"polluted":1}}',
    );
    for (const path of [
      ['mine'],
      ['hyperParameters'],
      ['callbacks'],
      ['engine', 'meta'],
      ['metrics'],
      placeOf('state'),
    ]) {
      await run.complaint(replaceAt(run.parts.document, path, polluting));
      expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    }
  });
});
