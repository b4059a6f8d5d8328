import assert from 'node:assert/strict';
import { StorageError } from '../../errors.ts';
import { bytesOf, type Check, fails, pathsIn, publish, textOf } from './check.ts';

/** Second names and symbolic links. */
export function linkingContract(check: Check): void {
  check('gives a file a second name, or says that it cannot', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    if (!(await storage.link(`${root}/a`, `${root}/new/b`, { replace: false }))) {
      assert.equal(await storage.stat(`${root}/new/b`), undefined);
      return;
    }
    assert.equal((await storage.stat(`${root}/new/b`))?.kind, 'file');
    await fails('Conflict', () => storage.link(`${root}/a`, `${root}/new/b`, { replace: false }));
    await storage.remove(`${root}/a`);
    assert.equal(await textOf(storage, `${root}/new/b`), 'abc');
    await fails('NotFound', () => storage.link(`${root}/a`, `${root}/c`, { replace: false }));
    await fails('NotFound', () => storage.link(`${root}/a`, `${root}/new/b`, { replace: true }));
    assert.equal(await textOf(storage, `${root}/new/b`), 'abc');
  });
  check('replaces one of two names, and the other keeps its file', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'old');
    if (!(await storage.link(`${root}/a`, `${root}/last`, { replace: true }))) return;
    await publish(storage, `${root}/b`, 'new');
    assert.equal(await storage.link(`${root}/b`, `${root}/last`, { replace: true }), true);
    assert.equal(await textOf(storage, `${root}/last`), 'new');
    const writer = await storage.writer(`${root}/last`);
    await writer.write([bytesOf('newest')]);
    await writer.publish({ replace: true });
    assert.equal(await textOf(storage, `${root}/a`), 'old');
    assert.equal(await textOf(storage, `${root}/b`), 'new');
  });
  check('publishes a file under several names, or says that it cannot', async (made) => {
    const { storage, root } = made;
    await publish(storage, `${root}/last`, 'old');
    const writer = await storage.writer(`${root}/last`);
    await writer.write([bytesOf('new')]);
    const further = [`${root}/a`, `${root}/sub/b`];
    const areGiven: boolean[] = [];
    for (const path of further) areGiven.push(await writer.link(path));
    assert.equal(new Set(areGiven).size, 1);
    if (areGiven[0]) await fails('Conflict', () => writer.link(`${root}/a`));
    await assert.rejects(() => writer.write([bytesOf('more')]), StorageError);
    await writer.publish({ replace: true });
    assert.equal(await textOf(storage, `${root}/last`), 'new');
    if (!areGiven[0]) return assert.equal(await storage.stat(`${root}/a`), undefined);
    await storage.remove(`${root}/last`);
    for (const path of further) assert.equal(await textOf(storage, path), 'new');
  });
  check('takes new names back when the file is given up', async ({ storage, root }) => {
    await publish(storage, `${root}/taken`, 'old');
    const writer = await storage.writer(`${root}/taken`);
    await writer.write([bytesOf('new')]);
    await writer.link(`${root}/a`);
    await fails('Conflict', () => writer.publish({ replace: false }));
    await writer.abort();
    assert.deepEqual(await pathsIn(storage, root), [`${root}/taken`]);
    assert.equal(await textOf(storage, `${root}/taken`), 'old');
  });
  check('leaves nothing behind when both names are of one file', async ({ storage, root }) => {
    const [a, b] = [`${root}/a`, `${root}/b`];
    await publish(storage, a, 'abc');
    if (!(await storage.link(a, b, { replace: false }))) return;
    assert.equal(await storage.link(a, b, { replace: true }), true);
    assert.equal(await storage.link(a, a, { replace: true }), true);
    assert.deepEqual(await pathsIn(storage, root), [a, b]);
    await storage.rename(a, `${root}/./a`);
    assert.deepEqual(await pathsIn(storage, root), [a, b]);
    await storage.rename(a, b);
    assert.deepEqual(await pathsIn(storage, root), [b]);
    assert.equal(await textOf(storage, b), 'abc');
  });
  check('makes symbolic links, or says Unsupported', async ({ storage, root }) => {
    const last = `${root}/new/last`;
    if (!storage.supportsSymlinks) {
      return fails('Unsupported', () => storage.symlink('../a', last, { replace: false }));
    }
    await publish(storage, `${root}/a`, 'abc');
    await storage.symlink('../a', last, { replace: false });
    assert.equal(await textOf(storage, last), 'abc');
    const entry = await storage.stat(last);
    assert.deepEqual(
      { ...entry, modifiedAtMs: 0 },
      { path: last, kind: 'link', sizeBytes: 3, modifiedAtMs: 0, target: `${root}/a` },
    );
    assert.deepEqual(await pathsIn(storage, `${root}/new`), [last]);
  });
  check('links to a path as other methods take it', async ({ storage, root }) => {
    if (!storage.supportsSymlinks) return;
    await publish(storage, `${root}/sub/a`, 'abc');
    await storage.symlink(`${root}/sub/a`, `${root}/last`, { replace: false });
    await storage.symlink(`${root}/sub/a`, `${root}/other/last`, { replace: false });
    assert.equal(await textOf(storage, `${root}/last`), 'abc');
    assert.equal(await textOf(storage, `${root}/other/last`), 'abc');
    assert.equal((await storage.stat(`${root}/other/last`))?.target, `${root}/sub/a`);
  });
  check('replaces a link, and by a link, only when told to', async ({ storage, root }) => {
    if (!storage.supportsSymlinks) return;
    const last = `${root}/last`;
    for (const name of ['a', 'b', 'last']) await publish(storage, `${root}/${name}`, name);
    await fails('Conflict', () => storage.symlink('a', last, { replace: false }));
    await storage.symlink('a', last, { replace: true });
    assert.equal(await textOf(storage, last), 'a');
    await fails('Conflict', () => storage.symlink('b', last, { replace: false }));
    await storage.symlink('b', last, { replace: true });
    await storage.symlink('b', last, { replace: true });
    assert.equal(await textOf(storage, last), 'b');
    const writer = await storage.writer(last);
    await writer.write([bytesOf('file')]);
    await fails('Conflict', () => writer.publish({ replace: false }));
    await writer.publish({ replace: true });
    assert.equal((await storage.stat(last))?.kind, 'file');
    assert.equal(await textOf(storage, `${root}/b`), 'b');
    assert.equal((await pathsIn(storage, root)).length, 3);
  });
  check('tells a link that leads nowhere from no link', async ({ storage, root }) => {
    if (!storage.supportsSymlinks) return;
    const last = `${root}/last`;
    await storage.symlink('gone', last, { replace: false });
    const entry = await storage.stat(last);
    assert.equal(entry?.kind, 'link');
    assert.equal(entry?.sizeBytes, 0);
    await fails('NotFound', () => storage.read(last));
    await fails('Conflict', () => publish(storage, last, 'abc'));
    assert.deepEqual(await pathsIn(storage, root), [last]);
    await storage.symlink('last', `${root}/gone`, { replace: false });
    assert.equal((await storage.stat(last))?.sizeBytes, 0);
  });
  check('removes and moves the link, not what it leads to', async ({ storage, root }) => {
    if (!storage.supportsSymlinks) return;
    await publish(storage, `${root}/a`, 'abc');
    await storage.symlink('a', `${root}/last`, { replace: false });
    await storage.rename(`${root}/last`, `${root}/first`);
    assert.equal((await storage.stat(`${root}/first`))?.kind, 'link');
    assert.equal(await textOf(storage, `${root}/first`), 'abc');
    assert.equal(await storage.remove(`${root}/first`), true);
    assert.deepEqual(await pathsIn(storage, root), [`${root}/a`]);
  });
}
