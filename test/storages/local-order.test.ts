import { expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/storages/local/file-system.ts';
import { localFiles } from '../../src/storages/local.ts';
import type { Storage } from '../../src/storages/storage.ts';
import { newFolder } from './local-folder.ts';
import { observed } from './observed-file-system.ts';

const bytes = new TextEncoder().encode('abc');
const looks = ['lstat', 'stat', 'readlink', 'status', 'read', 'names'];

/** What `work` changes on disk, in order; `T` is a temporary file, `.` the folder. */
async function effectsOf(
  work: (storage: Storage, root: string) => Promise<unknown>,
  { isFolderKnown = true } = {},
): Promise<string[]> {
  const root = await newFolder();
  const before = localFiles();
  await before.append(`${root}/old`, 'old\n');
  await before.link(`${root}/old`, `${root}/twin`, { replace: false });
  let effects: string[] = [];
  const short = (path: string) =>
    path
      .replace(/\.highwater~.*\.tmp$/, 'T')
      .replace(`${root}/`, '')
      .replace(root, '.');
  const fs = observed(nodeFileSystem, ({ operation, paths }) => {
    if (!looks.includes(operation)) effects.push([operation, ...paths.map(short)].join(' '));
  });
  const storage = localFiles({ fs });
  if (isFolderKnown) await storage.prepare(root);
  effects = [];
  await work(storage, root);
  return effects;
}

const publishing =
  (replace: boolean) =>
  async (storage: Storage, root: string): Promise<void> => {
    const writer = await storage.writer(`${root}/a`);
    await writer.write([bytes, bytes]);
    await writer.patch(1, bytes);
    await writer.publish({ replace });
  };

it('flushes the bytes before they get a name, and then the name', async () => {
  const written = ['open T', 'writev T', 'writev T', 'datasync T', 'close T'];
  expect(await effectsOf(publishing(true))).toEqual([...written, 'rename T a', 'syncFolder .']);
  expect(await effectsOf(publishing(false))).toEqual(
    written.concat('link T a', 'syncFolder .', 'unlink T'),
  );
});

it('flushes further names of a new file with the first, once for each folder', async () => {
  const effects = await effectsOf(async (storage, root) => {
    await storage.prepare(`${root}/sub`);
    const writer = await storage.writer(`${root}/last`);
    await writer.write([bytes]);
    for (const name of ['a', 'sub/b']) await writer.link(`${root}/${name}`);
    await writer.publish({ replace: true });
  });
  expect(effects.slice(effects.indexOf('datasync T'))).toEqual([
    'datasync T',
    'close T',
    'link T a',
    'link T sub/b',
    'rename T last',
    'syncFolder .',
    'syncFolder sub',
  ]);
});

it('flushes every other change of names too', async () => {
  const link = (replace: boolean) =>
    effectsOf((storage, root) => storage.link(`${root}/old`, `${root}/b`, { replace }));
  expect(await link(false)).toEqual(['link old b', 'syncFolder .']);
  expect(await link(true)).toEqual(['link old T', 'rename T b', 'unlink T', 'syncFolder .']);
  const symlink = (replace: boolean) =>
    effectsOf((storage, root) => storage.symlink('old', `${root}/b`, { replace }));
  expect(await symlink(false)).toEqual(['symlink old b', 'syncFolder .']);
  expect(await symlink(true)).toEqual(['symlink old T', 'rename T b', 'unlink T', 'syncFolder .']);
  expect(await effectsOf((storage, root) => storage.remove(`${root}/old`))).toEqual([
    'unlink old',
    'syncFolder .',
  ]);
  const rename = (to: string) =>
    effectsOf((storage, root) => storage.rename(`${root}/old`, `${root}/${to}`));
  expect(await rename('b')).toEqual(['rename old b', 'syncFolder .']);
  expect(await rename('twin')).toEqual(['unlink old', 'syncFolder .']);
});

it('flushes the new name before the loss of the old one when a file changes folders', async () => {
  expect(
    await effectsOf((storage, root) => storage.rename(`${root}/old`, `${root}/sub/b`)),
  ).toEqual(['mkdir sub', 'syncFolder .', 'rename old sub/b', 'syncFolder sub', 'syncFolder .']);
});

it('flushes the name of each folder it makes', async () => {
  expect(await effectsOf((storage, root) => storage.writer(`${root}/x/y/a`))).toEqual([
    'mkdir x',
    'syncFolder .',
    'mkdir x/y',
    'syncFolder x',
    'open x/y/T',
  ]);
});

it('flushes the names of folders that somebody else has just made, once', async () => {
  const effects = await effectsOf(
    async (storage, root) => {
      await localFiles().prepare(`${root}/x/y`);
      await storage.writer(`${root}/x/y/a`);
      await storage.writer(`${root}/x/y/b`);
    },
    { isFolderKnown: false },
  );
  expect(effects.slice(-5)).toEqual([
    expect.stringMatching(/^syncFolder \//),
    'syncFolder .',
    'syncFolder x',
    'open x/y/T',
    'open x/y/T',
  ]);
});

it('makes a folder again that was removed meanwhile', async () => {
  const effects = await effectsOf(async (storage, root) => {
    await storage.prepare(`${root}/x`);
    await nodeFileSystem.rename(`${root}/x`, `${root}/y`);
    await storage.append(`${root}/x/a`, 'abc\n');
  });
  expect(effects.slice(-5)).toEqual([
    'mkdir x',
    'syncFolder .',
    'open x/a',
    'writev x/a',
    'close x/a',
  ]);
});
