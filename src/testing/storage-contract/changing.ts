import assert from 'node:assert/strict';
import { bytesOf, type Check, fails, pathsIn, publish, textOf } from './check.ts';

/** Removing, moving, the journal and folders. */
export function changingContract(check: Check): void {
  check('removes a file once', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    assert.equal(await storage.remove(`${root}/a`), true);
    assert.equal(await storage.stat(`${root}/a`), undefined);
    assert.equal(await storage.remove(`${root}/a`), false);
    assert.equal(await storage.remove(`${root}/none/none`), false);
  });
  check('moves a file, also over another and into a new folder', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    await publish(storage, `${root}/b`, 'old');
    await storage.rename(`${root}/a`, `${root}/b`);
    assert.deepEqual(await pathsIn(storage, root), [`${root}/b`]);
    await storage.rename(`${root}/b`, `${root}/new/folder/c`);
    assert.equal(await textOf(storage, `${root}/new/folder/c`), 'abc');
    assert.equal(await storage.stat(`${root}/b`), undefined);
  });
  check('keeps a file that is moved to its own name', async ({ storage, root }) => {
    await publish(storage, `${root}/a`, 'abc');
    await storage.rename(`${root}/a`, `${root}/a`);
    await storage.rename(`${root}/a`, `${root}/./a`);
    assert.equal(await textOf(storage, `${root}/a`), 'abc');
  });
  check('says NotFound when there is nothing to move', async ({ storage, root }) => {
    await publish(storage, `${root}/b`, 'abc');
    await fails('NotFound', () => storage.rename(`${root}/a`, `${root}/b`));
    assert.equal(await textOf(storage, `${root}/b`), 'abc');
  });
  check('appends lines, making the file and its folders', async ({ storage, root }) => {
    const path = `${root}/.highwater/history.jsonl`;
    await storage.append(path, '{"a":1}\n');
    await storage.append(path, '{"b":"é"}\n{"c":3}\n');
    assert.equal(await textOf(storage, path), '{"a":1}\n{"b":"é"}\n{"c":3}\n');
  });
  check('starts a new line after one that was cut short', async ({ storage, root }) => {
    await publish(storage, `${root}/history`, '{"a":1}\n{"b":');
    await storage.append(`${root}/history`, '{"c":3}\n');
    assert.equal(await textOf(storage, `${root}/history`), '{"a":1}\n{"b":\n{"c":3}\n');
  });
  check('prepares a folder, once and again', async ({ storage, root }) => {
    await storage.prepare(`${root}/runs/version_0/checkpoints`);
    await storage.prepare(`${root}/runs/version_0/checkpoints`);
    assert.deepEqual(await pathsIn(storage, `${root}/runs/version_0/checkpoints`), []);
  });
  check('says NotAFolder where a file is in the way', async ({ storage, root }) => {
    await publish(storage, `${root}/file`, 'abc');
    await fails('NotAFolder', () => storage.prepare(`${root}/file`));
    await fails('NotAFolder', () => pathsIn(storage, `${root}/file`));
    assert.equal(await textOf(storage, `${root}/file`), 'abc');
  });
  check('never takes a folder for a file', async ({ storage, root, hasFolders = true }) => {
    if (!hasFolders) return;
    await publish(storage, `${root}/folder/a`, 'abc');
    await publish(storage, `${root}/b`, 'abc');
    const hasLinks = await storage.link(`${root}/b`, `${root}/folder/b`, { replace: false });
    for (const replace of [true, false]) {
      const writer = await storage.writer(`${root}/folder`);
      await fails('Conflict', () => writer.publish({ replace }));
      await writer.abort();
      if (hasLinks) {
        await fails('Conflict', () => storage.link(`${root}/b`, `${root}/folder`, { replace }));
      }
      if (storage.supportsSymlinks) {
        await fails('Conflict', () => storage.symlink('b', `${root}/folder`, { replace }));
      }
    }
    await fails('Conflict', () => storage.read(`${root}/folder`));
    await fails('Conflict', () => storage.remove(`${root}/folder`));
    await fails('Conflict', () => storage.rename(`${root}/b`, `${root}/folder`));
    await fails('NotAFolder', () => storage.writer(`${root}/b/below`));
    assert.deepEqual(await pathsIn(storage, root), [`${root}/b`, `${root}/folder`]);
    assert.equal(await textOf(storage, `${root}/folder/a`), 'abc');
  });
  check('sweeps no file of anyone who is alive', async ({ storage, root }) => {
    assert.deepEqual(await storage.sweep(`${root}/none`), []);
    await publish(storage, `${root}/a.ckpt`, 'abc');
    await publish(storage, `${root}/.hidden.tmp`, 'abc');
    const writer = await storage.writer(`${root}/b.ckpt`);
    await writer.write([bytesOf('abc')]);
    assert.deepEqual(await storage.sweep(root), []);
    await writer.publish({ replace: false });
    const names = ['.hidden.tmp', 'a.ckpt', 'b.ckpt'];
    assert.deepEqual(
      await pathsIn(storage, root),
      names.map((name) => `${root}/${name}`),
    );
  });
}
