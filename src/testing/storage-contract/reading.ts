import assert from 'node:assert/strict';
import { type Check, fails, pathsIn, publish, textOf } from './check.ts';

/** What is read, seen and listed. */
export function readingContract(check: Check): void {
  check('reads any range, less only where the file ends', async ({ storage, root }) => {
    const path = `${root}/a`;
    await publish(storage, path, '0123456789');
    const read = async (offset: number, length: number) =>
      new TextDecoder().decode(await storage.read(path, { offset, length }));
    assert.equal(await read(0, 10), '0123456789');
    assert.equal(await read(3, 4), '3456');
    assert.equal(await read(8, 100), '89');
    assert.equal(await read(0, Number.MAX_SAFE_INTEGER), '0123456789');
    assert.equal(await read(10, 1), '');
    assert.equal(await read(1000, 1), '');
    assert.equal(await read(2, 0), '');
  });
  check('refuses a range that is none', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    for (const range of [
      { offset: -1, length: 1 },
      { offset: 0, length: -1 },
      { offset: 0.5, length: 1 },
      { offset: 0, length: Number.NaN },
    ]) {
      await fails('Other', () => storage.read(`${root}/a`, range));
    }
  });
  check('reads parts of a file', async ({ storage, root }) => {
    const path = `${root}/a`;
    await publish(storage, path, '0123456789');
    const ranges = [
      { offset: 1, length: 9 },
      { offset: 0, length: 9 },
      { offset: 8, length: 100 },
      { offset: 1000, length: 1 },
      ...Array.from({ length: 10 }, (_, offset) => ({ offset, length: 1 })),
    ];
    const found = new Map<number, string>();
    await storage.readParts(path, ranges, (i, bytes) => {
      assert.equal(bytes.byteLength, bytes.buffer.byteLength);
      found.set(i, new TextDecoder().decode(bytes));
    });
    const expected = ['123456789', '012345678', '89', '', ...'0123456789'];
    assert.deepEqual(found, new Map(expected.entries()));
    await storage.readParts(path, [], () => assert.fail('there is nothing to read'));
    await fails('NotFound', () => storage.readParts(`${root}/none`, ranges, () => {}));
    const wrong = [{ offset: -1, length: 1 }];
    await fails('Other', () => storage.readParts(path, wrong, () => {}));
  });
  check('gives bytes that are the reader’s own', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    const bytes = await storage.read(`${root}/a`);
    assert.equal(bytes.byteOffset, 0);
    assert.equal(bytes.buffer.byteLength, 3);
    bytes.fill(0);
    assert.equal(await textOf(storage, `${root}/a`), 'abc');
  });
  check('says NotFound for a file that is not there', async ({ storage, root }) => {
    await fails('NotFound', () => storage.read(`${root}/none`));
    await fails('NotFound', () => storage.read(`${root}/none/none`, { offset: 0, length: 1 }));
  });
  check('tells what a path names, or that it names nothing', async ({ storage, root }) => {
    const path = `${root}/a.ckpt`;
    assert.equal(await storage.stat(path), undefined);
    const before = Date.now();
    await publish(storage, path, 'abc');
    assert.equal(await storage.stat(`${path}/below`), undefined);
    const entry = await storage.stat(path);
    assert.ok(entry);
    const { modifiedAtMs, ...rest } = entry;
    assert.deepEqual(rest, { path, kind: 'file', sizeBytes: 3 });
    assert.ok(Math.abs(modifiedAtMs - before) < 3_600_000, `${modifiedAtMs} is about ${before}`);
  });
  check('lists nothing in a folder that is not there', async ({ storage, root }) => {
    assert.deepEqual(await pathsIn(storage, `${root}/none`), []);
  });
  check('lists what lies directly in a folder', async ({ storage, root }) => {
    const paths = Array.from({ length: 100 }, (_, i) => `${root}/epoch=${i}.ckpt`).sort();
    for (const path of paths) await publish(storage, path, 'abc');
    await publish(storage, `${root}/sub/below.ckpt`, 'x');
    const kinds = new Map<string, string>();
    for await (const entry of storage.list(root)) {
      kinds.set(entry.path, `${entry.kind} ${entry.kind === 'file' ? entry.sizeBytes : ''}`);
      assert.deepEqual(entry, await storage.stat(entry.path));
    }
    assert.deepEqual([...kinds.keys()].sort(), [...paths, `${root}/sub`]);
    assert.equal(kinds.get(`${root}/sub`), 'folder ');
    assert.equal(kinds.get(`${root}/epoch=7.ckpt`), 'file 3');
    assert.deepEqual(await pathsIn(storage, `${root}/`), [...paths, `${root}/sub`]);
  });
  check('lets a listing go on, or stop, while files go', async ({ storage, root }) => {
    for (let i = 0; i < 50; i++) await publish(storage, `${root}/${i}`, 'abc');
    for await (const { path } of storage.list(root)) await storage.remove(path);
    assert.deepEqual(await pathsIn(storage, root), []);
    await publish(storage, `${root}/a`, 'abc');
    for await (const entry of storage.list(root)) if (entry.kind === 'file') break;
  });
}
