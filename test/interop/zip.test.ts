import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localFiles, memoryFiles, type StorageWriter } from 'highwater';
import { importTorch } from 'highwater/torch';
import { expect, it } from 'vitest';
import { crc32 } from '../../src/format/crc32.ts';
import { PyCall, PyPersistent, pickle } from '../../src/interop/torch/pickle/pickler.ts';
import { PyGlobal, PyTuple } from '../../src/interop/torch/pickle/python-values.ts';
import { locate, readDirectory } from '../../src/interop/zip/directory.ts';
import { ZipWriter } from '../../src/interop/zip/writer.ts';

it('an archive of more entries than 16 bits count is read entry by entry', async () => {
  const storage = memoryFiles();
  const writer = await storage.writer('/a.zip');
  const archive = new ZipWriter(writer, 64, crc32);
  const count = 65_536;
  for (let i = 0; i < count; i++) await archive.add(`é/${i}`, Uint8Array.of(i & 255, i >> 8));
  await archive.finish();
  await writer.publish({ replace: false });
  const { sizeBytes } = (await storage.stat('/a.zip'))!;
  const entries = await readDirectory(storage, '/a.zip', sizeBytes);
  expect(entries.size).toBe(count);
  for (const i of [0, 1, 65_535]) {
    const offset = await locate(storage, '/a.zip', entries.get(`é/${i}`)!);
    expect(offset % 64).toBe(0);
    expect([...(await storage.read('/a.zip', { offset, length: 2 }))]).toEqual([i & 255, i >> 8]);
  }
});

it('a file of more than 4 GB is written and read, also by Python, with holes for what is zero', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'highwater-zip64-'));
  const path = join(folder, 'large.pt');
  try {
    const file = await open(path, 'w');
    const gigabyte = new Uint8Array(2 ** 30);
    const sizeBytes = 5 * 2 ** 30;
    let position = 0;
    // Zeros are left out: the file system has them anyway.
    const writer = {
      async write(views: readonly Uint8Array[]) {
        for (const view of views) {
          if (view !== gigabyte) await file.write(view, 0, view.length, position);
          position += view.length;
        }
      },
    } as StorageWriter;
    // The checksum of so many zeros is not what this is about.
    const archive = new ZipWriter(writer, 64, (view, seed) =>
      view === gigabyte ? 0 : crc32(view, seed),
    );
    const tensor = (key: string, count: number) =>
      new PyCall('torch._utils._rebuild_tensor_v2', [
        new PyPersistent(
          new PyTuple(['storage', new PyGlobal('torch.ByteStorage'), key, 'cpu', count]),
        ),
        Math.max(0, count - 3),
        new PyTuple([3]),
        new PyTuple([1]),
        false,
        new PyCall('collections.OrderedDict', []),
      ]);
    await archive.add(
      'a/data.pkl',
      pickle(
        new Map([
          ['large', tensor('0', sizeBytes)],
          ['small', tensor('1', 3)],
        ]),
      ),
    );
    await archive.add('a/data/0', gigabyte, async function* () {
      for (let i = 1; i < 5; i++) yield gigabyte;
    });
    await archive.add('a/data/1', Uint8Array.of(7, 8, 9));
    await archive.finish();
    await file.close();
    truncateSync(path, position);
    const found = await importTorch(path, { storage: localFiles(), verify: false });
    expect(found.sizeBytes).toBeGreaterThan(sizeBytes);
    const [small] = await found.loadWeights(['small']);
    expect([...(small?.bytes ?? [])]).toEqual([7, 8, 9]);
    const [large] = await found.loadWeights();
    expect([...(large?.bytes ?? [])]).toEqual([0, 0, 0]);
    await found.save(join(folder, 'large.ckpt'));
    const code = `
import zipfile, sys
archive = zipfile.ZipFile(sys.argv[1])
print(archive.getinfo('a/data/0').file_size, archive.read('a/data/1').hex())`;
    const out = execFileSync('python3', ['-c', code, path], { encoding: 'utf8' });
    expect(out.trim()).toBe(`${sizeBytes} 070809`);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
