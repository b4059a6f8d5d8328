import assert from 'node:assert/strict';
import { StorageError } from '../../errors.ts';
import { crc32 } from '../../format/crc32.ts';
import { bytesOf, type Check, fails, pathsIn, publish, textOf } from './check.ts';

/** How files come to be. */
export function writingContract(check: Check): void {
  check('shows a file only when it is published, and then whole', async ({ storage, root }) => {
    const path = `${root}/a.ckpt`;
    const writer = await storage.writer(path);
    await writer.write([bytesOf('ab')]);
    await writer.write([bytesOf('c'), new Uint8Array(), bytesOf('de')]);
    assert.equal(await storage.stat(path), undefined);
    assert.deepEqual(await pathsIn(storage, root), []);
    await writer.publish({ replace: false });
    assert.equal(await textOf(storage, path), 'abcde');
    assert.deepEqual(await pathsIn(storage, root), [path]);
  });
  check('takes thousands of views, and none', async ({ storage, root }) => {
    const writer = await storage.writer(`${root}/a`);
    await writer.write([]);
    await writer.write([new Uint8Array()]);
    const views = Array.from({ length: 2500 }, (_, i) => new Uint8Array(i % 7).fill(i));
    await writer.write(views);
    await writer.publish({ replace: false });
    assert.deepEqual(await storage.read(`${root}/a`), new Uint8Array(Buffer.concat(views)));
    await publish(storage, `${root}/empty`, '');
    assert.equal((await storage.stat(`${root}/empty`))?.sizeBytes, 0);
  });
  check('takes megabytes, and views into larger buffers', async ({ storage, root }) => {
    const values = Float64Array.from({ length: 400_000 }, (_, i) => Math.sin(i));
    const view = new Uint8Array(values.buffer, 8, 3_000_000);
    const writer = await storage.writer(`${root}/a`);
    await writer.write([view, view]);
    await writer.publish({ replace: false });
    const bytes = await storage.read(`${root}/a`);
    assert.equal(bytes.byteLength, 6_000_000);
    assert.ok(Buffer.from(view).equals(bytes.subarray(0, 3_000_000)));
    assert.ok(Buffer.from(view).equals(bytes.subarray(3_000_000)));
  });
  check('keeps no view once it is written', async ({ storage, root }) => {
    const view = bytesOf('abc');
    const writer = await storage.writer(`${root}/a`);
    await writer.write([view]);
    view.fill(0);
    await writer.publish({ replace: false });
    assert.equal(await textOf(storage, `${root}/a`), 'abc');
  });
  check('patches what is written, and only that', async ({ storage, root }) => {
    const writer = await storage.writer(`${root}/a`);
    await writer.write([bytesOf('0123'), bytesOf('4567')]);
    await writer.patch(3, bytesOf('xy'));
    await writer.patch(0, bytesOf(''));
    await writer.write([bytesOf('89')]);
    await writer.patch(9, bytesOf('z'));
    await writer.publish({ replace: false });
    assert.equal(await textOf(storage, `${root}/a`), '012xy5678z');
    for (const offset of [-1, 2, Number.NaN]) {
      const other = await storage.writer(`${root}/b`);
      await other.write([bytesOf('ab')]);
      await fails('Other', () => other.patch(offset, bytesOf('x')));
      await fails('Other', () => other.publish({ replace: false }));
      await other.abort();
    }
    assert.deepEqual(await pathsIn(storage, root), [`${root}/a`]);
  });
  check(
    'checksums what is written, where it can, and then takes patches',
    async ({ storage, root }) => {
      const bytes = Uint8Array.from({ length: 3_000_001 }, (_, i) => i * i);
      const writer = await storage.writer(`${root}/a`, { sizeBytes: bytes.length });
      await writer.write([bytes.subarray(0, 1000), bytes.subarray(1000)]);
      const ranges = [
        { offset: 3, length: 2_500_000 },
        { offset: 3_000_001, length: 0 },
        { offset: 0, length: 3_000_001 },
      ];
      const expected = ranges.map(({ offset, length }) =>
        crc32(bytes.subarray(offset, offset + length)),
      );
      if (writer.checksums !== undefined) {
        assert.deepEqual(await writer.checksums(ranges), expected);
        assert.deepEqual(await writer.checksums([]), []);
      }
      await writer.patch(1, bytesOf('xy'));
      bytes.set(bytesOf('xy'), 1);
      await writer.publish({ replace: false });
      assert.ok(Buffer.from(bytes).equals(await storage.read(`${root}/a`)));
      if (writer.checksums === undefined) return;
      await fails('Other', () => writer.checksums?.(ranges) ?? Promise.resolve());
      const short = await storage.writer(`${root}/b`);
      await short.write([bytesOf('ab')]);
      await fails(
        'Other',
        () => short.checksums?.([{ offset: 0, length: 3 }]) ?? Promise.resolve(),
      );
      assert.deepEqual(await pathsIn(storage, root), [`${root}/a`]);
    },
  );
  check('keeps every byte in its place when memory moves while it is written', async (made) => {
    const { storage, root } = made;
    const memory = new WebAssembly.Memory({ initial: 1 });
    const moving = (): Uint8Array => new Uint8Array(memory.buffer, 8, 1000).fill(7);
    const writer = await storage.writer(`${root}/a`);
    const writing = writer.write([bytesOf('abc'), moving(), bytesOf('xyz')]);
    memory.grow(1);
    await writing;
    await writer.patch(3, moving());
    await writer.publish({ replace: false });
    assert.equal(await textOf(storage, `${root}/a`), `abc${'\u0007'.repeat(1000)}xyz`);
  });
  check('replaces only when told to', async ({ storage, root }) => {
    const path = `${root}/a`;
    await publish(storage, path, 'old');
    const writer = await storage.writer(path);
    await writer.write([bytesOf('new')]);
    await fails('Conflict', () => writer.publish({ replace: false }));
    assert.equal(await textOf(storage, path), 'old');
    await assert.rejects(() => writer.write([bytesOf('more')]), StorageError);
    await writer.publish({ replace: true });
    assert.equal(await textOf(storage, path), 'new');
    const loser = await storage.writer(path);
    await fails('Conflict', () => loser.publish({ replace: false }));
    await loser.abort();
    assert.equal(await textOf(storage, path), 'new');
    assert.deepEqual(await pathsIn(storage, root), [path]);
  });
  check('lets one of many take a free name', async ({ storage, root }) => {
    const texts = Array.from({ length: 16 }, (_, i) => `writer ${i}`);
    const results = await Promise.allSettled(
      texts.map((text) => publish(storage, `${root}/a`, text)),
    );
    const winners = texts.filter((_, i) => results[i]?.status === 'fulfilled');
    assert.deepEqual(winners, [await textOf(storage, `${root}/a`)]);
    for (const result of results) {
      if (result.status === 'rejected') assert.equal(result.reason.kind, 'Conflict');
    }
  });
  check('lets a reader see the old file or the new one', async ({ storage, root }) => {
    const path = `${root}/a`;
    const text = (i: number) => `${i}`.repeat(100_000);
    await publish(storage, path, text(0));
    let isWriting = true;
    const reading = (async () => {
      while (isWriting) {
        const seen = await textOf(storage, path);
        assert.equal(seen, text(Number(seen[0])));
        await new Promise((resolve) => setTimeout(resolve));
      }
    })();
    for (let i = 1; i < 10; i++) {
      const writer = await storage.writer(path);
      await writer.write([bytesOf(text(i))]);
      await writer.publish({ replace: true });
    }
    isWriting = false;
    await reading;
  });
  check('leaves nothing when a writer gives up, however often', async ({ storage, root }) => {
    const writer = await storage.writer(`${root}/a`);
    await writer.write([bytesOf('abc')]);
    await Promise.all([writer.abort(), writer.abort()]);
    await writer.abort();
    assert.deepEqual(await pathsIn(storage, root), []);
    await fails('Other', () => writer.write([bytesOf('abc')]));
    await fails('Other', () => writer.publish({ replace: true }));
    assert.deepEqual(await pathsIn(storage, root), []);
  });
  check('keeps what is published when the writer gives up later', async ({ storage, root }) => {
    const writer = await storage.writer(`${root}/a`);
    await writer.write([bytesOf('abc')]);
    await writer.publish({ replace: false });
    await writer.abort();
    await fails('Other', () => writer.write([bytesOf('abc')]));
    await fails('Other', () => writer.publish({ replace: true }));
    assert.equal(await textOf(storage, `${root}/a`), 'abc');
  });
  check('takes any name that a template can make', async ({ storage, root }) => {
    const names = ['epoch=0-step=10', 'val/loss=0.5 @ä', '.hidden', '-v1', 'a:b*c?', '日本語'];
    for (const long of ['x'.repeat(250), 'é'.repeat(125)]) names.push(long);
    for (const name of names) {
      await publish(storage, `${root}/${name}.ckpt`, name);
      const writer = await storage.writer(`${root}/${name}.ckpt`);
      await writer.write([bytesOf(`${name} again`)]);
      await writer.publish({ replace: true });
      assert.equal(await textOf(storage, `${root}/${name}.ckpt`), `${name} again`);
    }
    assert.equal((await pathsIn(storage, root)).length, names.length);
  });
}
