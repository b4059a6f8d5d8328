import { readdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { StorageError } from '../../src/errors.ts';
import { type FileSystem, nodeFileSystem } from '../../src/storages/local/file-system.ts';
import { localFiles } from '../../src/storages/local.ts';
import type { Storage } from '../../src/storages/storage.ts';
import { newFolder, temporariesIn } from './local-folder.ts';
import { type Call, observed, systemError } from './observed-file-system.ts';

const bytes = new TextEncoder().encode('new');
const withoutHardLinks: FileSystem = {
  ...nodeFileSystem,
  link: () => Promise.reject(systemError('EPERM')),
};

async function publish(storage: Storage, path: string, replace: boolean): Promise<void> {
  const writer = await storage.writer(path);
  await writer.write([bytes]);
  await writer.patch(0, bytes);
  await writer.publish({ replace });
}

async function listAll(storage: Storage, folder: string): Promise<void> {
  for await (const entry of storage.list(folder)) expect(entry.path).toContain(folder);
}

type Work = (storage: Storage, root: string) => Promise<unknown>;
const works: [name: string, work: Work, fs?: FileSystem][] = [
  ['publishing a new file', (s, root) => publish(s, `${root}/sub/a`, false)],
  ['publishing over a file', (s, root) => publish(s, `${root}/old`, true)],
  ['publishing without links', (s, root) => publish(s, `${root}/a`, false), withoutHardLinks],
  ['linking', (s, root) => s.link(`${root}/b`, `${root}/a`, { replace: false })],
  ['linking over a file', (s, root) => s.link(`${root}/b`, `${root}/old`, { replace: true })],
  ['a symbolic link', (s, root) => s.symlink('old', `${root}/a`, { replace: false })],
  ['a symbolic link over a file', (s, root) => s.symlink('b', `${root}/old`, { replace: true })],
  ['moving', (s, root) => s.rename(`${root}/b`, `${root}/old`)],
  ['moving to another folder', (s, root) => s.rename(`${root}/b`, `${root}/sub/a`)],
  ['moving onto itself', (s, root) => s.rename(`${root}/b`, `${root}/twin`)],
  ['removing', (s, root) => s.remove(`${root}/b`)],
  ['appending', (s, root) => s.append(`${root}/journal`, 'line\n')],
  ['preparing', (s, root) => s.prepare(`${root}/sub/sub`)],
  ['reading', (s, root) => s.read(`${root}/b`)],
  ['looking', (s, root) => s.stat(`${root}/link`)],
  ['listing', (s, root) => listAll(s, root)],
  ['sweeping', (s, root) => s.sweep(root)],
];

/** Does `work` in a fresh folder; the call number `failing` (from 0) fails with `code`. */
async function run(work: Work, fs: FileSystem, failing: number, code: string) {
  const root = await newFolder();
  for (const name of ['old', 'b']) await writeFile(`${root}/${name}`, name);
  await localFiles().link(`${root}/b`, `${root}/twin`, { replace: false });
  await localFiles().symlink('old', `${root}/link`, { replace: false });
  let calls = 0;
  let failed: Call | undefined;
  let open = 0;
  const counting: FileSystem = {
    ...fs,
    async open(path, mode) {
      const file = await fs.open(path, mode);
      open += 1;
      const close = async () => {
        await file.close();
        open -= 1;
      };
      return { ...file, close };
    },
  };
  const storage = localFiles({
    fs: observed(counting, (call) => {
      if (calls++ !== failing) return;
      failed = call;
      throw systemError(code);
    }),
  });
  const error: unknown = await work(storage, root).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return { root, error, failed, open };
}

describe.each([
  ['EIO', 'Other'],
  ['ENOSPC', 'NoSpace'],
  ['EACCES', 'Permission'],
])('%s at any call', (code, kind) => {
  it.each(works)('spoils nothing and leaves nothing behind: %s', async (_, work, fs) => {
    for (let failing = 0; ; failing++) {
      const { root, error, failed, open } = await run(work, fs ?? nodeFileSystem, failing, code);
      const where = `${failed?.operation} ${failed?.paths}`;
      expect(open, `files left open after ${where}`).toBe(0);
      // A whole file under each name, whatever happened.
      for (const name of ['old', 'b', 'twin', 'a', 'sub/a']) {
        const text = await readFile(`${root}/${name}`, 'utf8').catch(() => 'none');
        expect(['old', 'b', 'new', 'none'], `${name} after ${where}`).toContain(text);
      }
      // When `unlink` itself fails there is nothing to be done but to sweep later.
      if (failed?.operation !== 'unlink') expect(await temporariesIn(root), where).toEqual([]);
      if (failed === undefined) {
        expect(error).toBeUndefined();
        return;
      }
      if (error === undefined) {
        expect(isHarmless(failed, root, code), `${where} must not pass unnoticed`).toBe(true);
        continue;
      }
      expect(error, where).toBeInstanceOf(StorageError);
      expect(error, where).toMatchObject({
        kind,
        details: { code },
        message: expect.stringMatching(new RegExp(`^Cannot .* ${root}.*\\(${code}\\)\\. .*\\.$`)),
      });
    }
  });
});

/** Clearing up never fails the work; folders above ours may be another user's. */
function isHarmless({ operation, paths: [path = ''] }: Call, root: string, code: string): boolean {
  if (operation === 'unlink') return path.includes('.highwater~');
  return operation === 'syncFolder' && code === 'EACCES' && root.startsWith(path) && path !== root;
}

it('removes the temporary file even when its first removal fails', async () => {
  const root = await newFolder();
  const fs = observed(nodeFileSystem, ({ operation }) => {
    if (operation === 'unlink' && unlinks++ === 0) throw systemError('EIO');
  });
  let unlinks = 0;
  await publish(localFiles({ fs }), `${root}/a`, false);
  expect(unlinks).toBe(2);
  expect(await temporariesIn(root)).toEqual([]);
});

it('says how many bytes were wanted and how many are free on a full disk', async () => {
  const root = await newFolder();
  const fs: FileSystem = {
    ...observed(nodeFileSystem, ({ operation }) => {
      if (operation === 'writev') throw systemError('ENOSPC');
    }),
    freeBytes: async () => 1_048_576,
  };
  const writer = await localFiles({ fs }).writer(`${root}/a.ckpt`);
  const error = await writer.write([new Uint8Array(3_000_000)]).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    code: 'STORAGE_NOSPACE',
    path: `${root}/a.ckpt`,
    details: { code: 'ENOSPC', wantedBytes: 3_000_000, freeBytes: 1_048_576 },
    cause: { code: 'ENOSPC' },
  });
  expect((error as Error).message).toBe(
    `Cannot write ${root}/a.ckpt: the disk is full (ENOSPC). 3,000,000 bytes were wanted. ` +
      `1,048,576 bytes are free in ${root}. Make room, keep fewer checkpoints (saveTopK), ` +
      `or choose a dirpath on another disk.`,
  );
});

it('does not ask again for a flush that failed', async () => {
  const root = await newFolder();
  let flushes = 0;
  const fs = observed(nodeFileSystem, ({ operation }) => {
    if (operation === 'datasync' && flushes++ === 0) throw systemError('EIO');
  });
  const writer = await localFiles({ fs }).writer(`${root}/a`);
  await writer.write([bytes]);
  await expect(writer.publish({ replace: false })).rejects.toMatchObject({ kind: 'Other' });
  await expect(writer.publish({ replace: false })).rejects.toThrow('(EIO)');
  expect(flushes).toBe(1);
  await writer.abort();
});

/** A disk that fails to flush, and to check, what is written. */
function failingChecks(code: string): FileSystem {
  return {
    ...nodeFileSystem,
    async open(path, mode) {
      const file = await nodeFileSystem.open(path, mode);
      return { ...file, checksums: () => Promise.reject(systemError(code)) };
    },
  };
}

it('fails whatever is under way for the reason for which flushing failed', async () => {
  const root = await newFolder();
  const fs = failingChecks('ENOSPC');
  const writer = await localFiles({ fs }).writer(`${root}/a`, { sizeBytes: 1e6 });
  await writer.write([bytes]);
  const checking = writer.checksums?.([]);
  const writing = writer.write([bytes]).then(() => writer.write([bytes]));
  const full = { kind: 'NoSpace', details: { wantedBytes: 1e6, freeBytes: expect.any(Number) } };
  await expect(checking).rejects.toMatchObject(full);
  await expect(writing).rejects.toMatchObject(full);
  expect(await readdir(root)).toEqual([]);
  await expect(writer.publish({ replace: false })).rejects.toMatchObject(full);
  await writer.abort();
});

it('has nothing left when it was given up while a check of what is written fails', async () => {
  const root = await newFolder();
  const fs = failingChecks('EIO');
  const writer = await localFiles({ fs }).writer(`${root}/a`);
  await writer.write([bytes]);
  const checking = expect(writer.checksums?.([])).rejects.toMatchObject({ kind: 'Other' });
  await writer.abort();
  expect(await readdir(root)).toEqual([]);
  await checking;
});

it('gives up while a write is under way', async () => {
  const root = await newFolder();
  const writer = await localFiles().writer(`${root}/a`);
  const writing = writer.write([new Uint8Array(50_000_000)]);
  await writer.abort();
  await writing;
  await expect(writer.publish({ replace: false })).rejects.toBeInstanceOf(StorageError);
  expect(await temporariesIn(root)).toEqual([]);
});

it('keeps a file whose publishing was under way when the writer gave up', async () => {
  const root = await newFolder();
  for (const name of ['a', 'b', 'c']) {
    const writer = await localFiles().writer(`${root}/${name}`);
    const publishing = writer.publish({ replace: false });
    await Promise.all([writer.abort(), writer.abort()]);
    await publishing;
    expect(await localFiles().stat(`${root}/${name}`)).toBeDefined();
  }
  expect(await temporariesIn(root)).toEqual([]);
});

it('does as well on a folder whose ancestors it may not flush', async () => {
  const root = await newFolder();
  const fs = observed(nodeFileSystem, ({ operation, paths }) => {
    if (operation === 'syncFolder' && paths[0] !== root) throw systemError('EACCES');
  });
  await publish(localFiles({ fs }), `${root}/a`, false);
  const strict = localFiles({ fs });
  await expect(publish(strict, `${root}/sub/sub/a`, false)).rejects.toMatchObject({
    kind: 'Permission',
  });
});
