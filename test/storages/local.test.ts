import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type FileSystem,
  nodeFileSystem,
  type OpenFile,
} from '../../src/storages/local/file-system.ts';
import { localFiles } from '../../src/storages/local.ts';
import { storageContract } from '../../src/testing/storage-contract.ts';
import { newFolder } from './local-folder.ts';
import { systemError } from './observed-file-system.ts';

const withoutHardLinks: FileSystem = {
  ...nodeFileSystem,
  link: () => Promise.reject(systemError('EPERM')),
};

/** Takes at most three bytes of a call for each other byte there is, and is interrupted every fifth time. */
const withShortWrites: FileSystem = {
  ...nodeFileSystem,
  async open(path, mode) {
    const file = await nodeFileSystem.open(path, mode);
    let calls = 0;
    const writev: OpenFile['writev'] = (views, position) => {
      calls += 1;
      if (calls % 5 === 0) throw systemError(calls % 2 === 0 ? 'EINTR' : 'EAGAIN');
      const first = views[0]!;
      if (views.length > 2)
        return file.writev([...views.slice(0, 2), views[2]!.subarray(0, 1)], position);
      return file.writev([first.subarray(0, Math.max(3, first.byteLength >> 1))], position);
    };
    return { ...file, writev };
  },
};

const disks: [string, FileSystem][] = [
  ['localFiles', nodeFileSystem],
  ['localFiles without hard links', withoutHardLinks],
  ['localFiles with short writes', withShortWrites],
];
for (const [name, fs] of disks) {
  const make = async () => {
    const root = await mkdtemp(join(tmpdir(), 'highwater-'));
    const dispose = () => rm(root, { recursive: true });
    return { storage: localFiles({ fs }), root, dispose };
  };
  storageContract(name, make, { describe, it });
}

it('says that a name is too long for the disk', async () => {
  const path = `${await newFolder()}/${'x'.repeat(256)}`;
  const writer = await localFiles().writer(path);
  await expect(writer.publish({ replace: true })).rejects.toMatchObject({
    kind: 'Unsupported',
    message: expect.stringContaining('too long'),
  });
});

it('refuses a path that is none', async () => {
  await expect(localFiles().read('a\0b')).rejects.toMatchObject({ kind: 'Other', path: 'a\0b' });
});

it('follows a folder that is a link, and refuses one that leads nowhere', async () => {
  const root = await newFolder();
  const storage = localFiles();
  await storage.prepare(`${root}/real`);
  await storage.symlink('real', `${root}/alias`, { replace: false });
  await storage.symlink('nowhere', `${root}/dangling`, { replace: false });
  await storage.append(`${root}/alias/a`, 'abc\n');
  expect(await storage.stat(`${root}/real/a`)).toMatchObject({ sizeBytes: 4 });
  await expect(storage.prepare(`${root}/dangling`)).rejects.toMatchObject({ kind: 'NotAFolder' });
  await expect(storage.writer(`${root}/dangling/a`)).rejects.toMatchObject({ kind: 'NotAFolder' });
});

it('keeps a file that is moved to itself under another spelling of its folder', async () => {
  const root = await newFolder();
  const storage = localFiles();
  await storage.symlink('.', `${root}/alias`, { replace: false });
  await storage.append(`${root}/a`, 'abc\n');
  await storage.link(`${root}/a`, `${root}/b`, { replace: false });
  await storage.rename(`${root}/alias/a`, `${root}/a`);
  expect(await storage.stat(`${root}/a`)).toBeDefined();
  await storage.rename(`${root}/alias/a`, `${root}/b`);
  expect(await storage.stat(`${root}/a`)).toBeUndefined();
  expect(await storage.stat(`${root}/b`)).toBeDefined();
});
