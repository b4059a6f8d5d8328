import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { memoryFiles, openCheckpoint } from 'highwater';
import { exportTorch, importTorch } from 'highwater/torch';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoadedTensor } from '../../../src/engines/engine.ts';
import { type PythonTorch, startPythonTorch } from '../../support/python-torch.ts';

interface Digest {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly sha256: string;
}
type Digests = Readonly<Record<string, Digest>>;

const torch = await startPythonTorch();
const folder = await mkdtemp(join(tmpdir(), 'highwater-torch-'));
afterAll(async () => {
  torch?.close();
  await rm(folder, { recursive: true });
});

const python = (): PythonTorch => torch as PythonTorch;
const at = (name: string): string => join(folder, name);
/** Runs code in Python; what it set as `result`. */
const run = <T>(code: string, given: object = {}): Promise<T> =>
  python().ask<T>({ do: 'run', code, ...given });

const TORCH_NAMES: Readonly<Record<string, string>> = {
  F32: 'float32',
  F64: 'float64',
  F16: 'float16',
  BF16: 'bfloat16',
  I64: 'int64',
  I32: 'int32',
  I16: 'int16',
  I8: 'int8',
  U8: 'uint8',
  BOOL: 'bool',
  C64: 'complex64',
};

function digestsOf(tensors: readonly LoadedTensor[]): Digests {
  return Object.fromEntries(
    tensors.map(({ name, dtype, shape, bytes }) => [
      name,
      {
        dtype: TORCH_NAMES[dtype] ?? dtype,
        shape,
        sha256: createHash('sha256').update(bytes).digest('hex'),
      },
    ]),
  );
}

describe.skipIf(torch === undefined)('with PyTorch', () => {
  describe.each([1, 2, 3, 4, 5])(
    'random state dicts of every dtype and layout, seed %i',
    (seed) => {
      let files: readonly { readonly path: string; readonly tensors: Digests }[];
      beforeAll(async () => {
        files = await python().ask({ do: 'make', folder, seed });
      });

      it('are read bit for bit, whatever the protocol of the pickle', async () => {
        for (const { path, tensors } of files) {
          const found = await importTorch(path);
          expect(found.leftOut).toEqual([]);
          expect(found.weights.map(({ name }) => name)).toEqual(Object.keys(tensors));
          expect(digestsOf(await found.loadWeights())).toEqual(tensors);
          // One by one: another way of reading.
          for (const { name } of found.weights) {
            expect(digestsOf(await found.loadWeights([name]))).toEqual({ [name]: tensors[name] });
          }
        }
      });

      it('become checkpoints, and go back, bit for bit', async () => {
        for (const { path, tensors } of files) {
          const checkpoint = path.replace('.pt', '.ckpt');
          await (await importTorch(path)).save(checkpoint);
          const opened = await openCheckpoint(checkpoint);
          await opened.verify();
          expect(digestsOf(await opened.loadWeights())).toEqual(tensors);
          const back = path.replace('.pt', '-back.pt');
          await exportTorch(checkpoint, back);
          expect(await python().ask({ do: 'digest', path: back })).toEqual(tensors);
          expect(digestsOf(await (await importTorch(back)).loadWeights())).toEqual(tensors);
        }
      });
    },
  );

  it('the weights of a module load into the module again', async () => {
    const before = await run(
      `
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 2))
torch.save(net.state_dict(), given['path'])
result = digests(net.state_dict())`,
      { path: at('module.pt') },
    );
    const found = await importTorch(at('module.pt'));
    expect(digestsOf(await found.loadWeights())).toEqual(before);
    await found.save(at('module.ckpt'));
    await exportTorch(at('module.ckpt'), at('module-back.pt'));
    const after = await run(
      `
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(5, 2))
net.load_state_dict(torch.load(given['path'], weights_only=True))
result = digests(net.state_dict())`,
      { path: at('module-back.pt') },
    );
    expect(after).toEqual(before);
  });

  it('reorders dimensions as torch.permute does, and names as it is told', async () => {
    const expected = await run<Digests>(
      `
state = {'conv.weight': torch.randn(4, 3, 2, 5), 'fc.weight': torch.randn(7, 6).t(), 'fc.bias': torch.randn(7),
         'bn.num_batches_tracked': torch.tensor(3)}
torch.save(state, given['path'])
result = digests({'conv/kernel': state['conv.weight'].permute(2, 3, 1, 0), 'fc/kernel': state['fc.weight'].t(),
                  'fc.bias': state['fc.bias']})`,
      { path: at('axes.pt') },
    );
    const conversion = {
      rename: { '*.weight': '*/kernel' },
      axes: { 'conv.weight': 'OIHW->HWIO', 'fc.weight': 'OI->IO' },
      drop: ['*.num_batches_tracked'],
    };
    const found = await importTorch(at('axes.pt'), conversion);
    expect(digestsOf(await found.loadWeights())).toEqual(expected);
    await found.save(at('axes.ckpt'));
    await exportTorch(at('axes.ckpt'), at('axes-back.pt'), {
      rename: { '*/kernel': '*.weight' },
      axes: { 'conv/kernel': 'HWIO->OIHW', 'fc/kernel': 'IO->OI' },
    });
    const same = await run(
      `
a, b = (torch.load(path, weights_only=True) for path in given['paths'])
result = {key: torch.equal(a[key], value) for key, value in b.items()}`,
      { paths: [at('axes.pt'), at('axes-back.pt')] },
    );
    expect(same).toEqual({ 'conv.weight': true, 'fc.weight': true, 'fc.bias': true });
  });

  it('takes weights from under the key it is told, and keeps the rest', async () => {
    await run(
      `
net = torch.nn.Linear(2, 3)
opt = torch.optim.SGD(net.parameters(), lr=0.25, momentum=0.9)
net(torch.ones(1, 2)).sum().backward(); opt.step()
torch.save({'model': net.state_dict(), 'optimizer': opt.state_dict(), 'epoch': 7, 'rng': torch.get_rng_state()},
           given['path'])`,
      { path: at('nested.pt') },
    );
    await expect(importTorch(at('nested.pt'))).rejects.toThrow(/dicts under "model", "optimizer"/);
    const found = await importTorch(at('nested.pt'), { stateDict: 'model' });
    expect(found.weights.map(({ name }) => name)).toEqual(['weight', 'bias']);
    expect(found.document.imported).toMatchObject({
      from: 'pytorch',
      content: { epoch: 7, optimizer: { param_groups: [{ lr: 0.25, momentum: 0.9 }] } },
    });
  });

  it('refuses by name what is not the present format', async () => {
    await run(
      `
net = torch.nn.Linear(2, 2)
torch.save(net.state_dict(), given['legacy'], _use_new_zipfile_serialization=False)
torch.jit.save(torch.jit.script(net), given['script'])
torch.save(net, given['whole'])
torch.save({'w': torch.zeros(2, dtype=torch.complex128)}, given['complex128'])
torch.save({'w': torch.zeros(2, 2).to_sparse()}, given['sparse'])
torch.save(torch.zeros(3), given['single'])`,
      {
        legacy: at('legacy.pt'),
        script: at('script.pt'),
        whole: at('whole.pt'),
        complex128: at('complex128.pt'),
        sparse: at('sparse.pt'),
        single: at('single.pt'),
      },
    );
    const refusal = (name: string) => importTorch(at(name));
    await expect(refusal('legacy.pt')).rejects.toThrow(/before 1\.6.*\(byte 0\)/);
    await expect(refusal('script.pt')).rejects.toThrow(/TorchScript/);
    await expect(refusal('whole.pt')).rejects.toThrow(
      /torch\.nn\.modules\.linear\.Linear.*state_dict\(\)/,
    );
    await expect(refusal('complex128.pt')).rejects.toThrow(/complex128/);
    await expect(refusal('sparse.pt')).rejects.toThrow(/_rebuild_sparse_tensor/);
    await expect(refusal('single.pt')).rejects.toThrow(/a tensor/);
  });

  it('PyTorch reads an archive of many small tensors that it did not write', async () => {
    const count = 65_536; // More entries than 16 bits count: zip64.
    const header = Object.fromEntries(
      Array.from({ length: count }, (_, i) => [
        `w${i}`,
        { dtype: 'U8', shape: [1], data_offsets: [i, i + 1] },
      ]),
    );
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    const data = Buffer.alloc(count, 7);
    // In memory: a disk takes a while for so many reads.
    const storage = memoryFiles();
    const writer = await storage.writer('/many.safetensors');
    await writer.write([length, json, data]);
    await writer.publish({ replace: false });
    await exportTorch('/many.safetensors', '/many.pt', { storage });
    await writeFile(at('many.pt'), await storage.read('/many.pt'));
    const total = await run(
      `
state = torch.load(given['path'], weights_only=True)
result = [len(state), int(sum(int(t) for t in state.values()))]`,
      { path: at('many.pt') },
    );
    expect(total).toEqual([count, 7 * count]);
    expect((await importTorch('/many.pt', { storage })).weights).toHaveLength(count);
  });

  it('writes every record at a multiple of 64 bytes, with its checksum, as PyTorch does', async () => {
    await run(`torch.save({'a': torch.arange(5), 'b': torch.zeros(0)}, given['path'])`, {
      path: at('aligned.pt'),
    });
    await (await importTorch(at('aligned.pt'))).save(at('aligned.ckpt'));
    await exportTorch(at('aligned.ckpt'), at('aligned-back.pt'));
    const found = await run<{ offsets: number[]; bad: string | null }>(
      `
import zipfile
archive = zipfile.ZipFile(given['path'])
offsets = []
for info in archive.infolist():
    with open(given['path'], 'rb') as file:
        file.seek(info.header_offset + 26)
        sizes = file.read(4)
    offsets.append(info.header_offset + 30 + int.from_bytes(sizes[:2], 'little') + int.from_bytes(sizes[2:], 'little'))
result = {'offsets': offsets, 'bad': archive.testzip()}`,
      { path: at('aligned-back.pt') },
    );
    expect(found.bad).toBeNull();
    expect(found.offsets.filter((offset) => offset % 64 !== 0)).toEqual([]);
    expect((await readFile(at('aligned-back.pt'))).length).toBeLessThan(2000);
  });
});
