import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import { openCheckpoint } from 'highwater';
import { exportNpz, exportSafetensors, exportTfjs } from 'highwater/interop';
import { fromModelJson, toCheckpoint } from 'highwater/tfjs';
import { exportTorch } from 'highwater/torch';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { DType } from '../../src/format/dtype.ts';
import { highwater } from '../cli/captured-terminal.ts';
import { bytesOf, writeCheckpoint } from '../format/checkpoint-bytes.ts';

const KERNEL = Float32Array.from([1, 2, 3, 4, 5, 6]);
let folder: string;
let from: string;
const at = (name: string): string => join(folder, name);

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'highwater-export-'));
  from = at('model.ckpt');
  await write(from, [
    ['fc/kernel', 'F32', [2, 3], KERNEL],
    ['fc/bias', 'F32', [3], Float32Array.of(-1, 0, 1)],
    ['on', 'BOOL', [], Uint8Array.of(1)],
    ['empty', 'I32', [0, 2], new Int32Array()],
  ]);
});
afterEach(() => rm(folder, { recursive: true }));

async function write(
  path: string,
  tensors: readonly (readonly [string, DType, readonly number[], ArrayBufferView])[],
): Promise<void> {
  const model = tensors.map(([name, dtype, shape, array]) => ({
    group: 'model' as const,
    name,
    dtype,
    shape,
    bytes: bytesOf(array),
  }));
  const slot = { group: 'optimizer' as const, name: 'm', dtype: 'F32' as const, shape: [6] };
  const all = [...model, { ...slot, bytes: bytesOf(KERNEL) }];
  await writeFile(path, writeCheckpoint({ kind: 'full', epoch: 1, globalStep: 2 }, all));
}

describe('npz', () => {
  it('is what numpy.load would read: headers, data and checksums, by the standard library', async () => {
    await exportNpz(from, at('model.npz'), { axes: { 'fc/kernel': 'IO->OI' } });
    // numpy/lib/format.py, in short.
    const code = `
import ast, json, struct, sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
found = {}
for name in archive.namelist():
    data = archive.read(name)
    assert data[:8] == b'\\x93NUMPY\\x01\\x00'
    length, = struct.unpack('<H', data[8:10])
    header = ast.literal_eval(data[10:10 + length].decode('latin1'))
    assert (10 + length) % 64 == 0 and data[9 + length:10 + length] == b'\\n' and not header['fortran_order']
    code = {'<f4': 'f', '<i4': 'i', '|b1': '?'}[header['descr']]
    values = struct.unpack('<%d%s' % (len(data[10 + length:]) // struct.calcsize(code), code), data[10 + length:])
    found[name] = [header['descr'], list(header['shape']), list(values)]
print(json.dumps(found))`;
    const out = execFileSync('python3', ['-c', code, at('model.npz')], { encoding: 'utf8' });
    expect(JSON.parse(out)).toEqual({
      'fc/kernel.npy': ['<f4', [3, 2], [1, 4, 2, 5, 3, 6]],
      'fc/bias.npy': ['<f4', [3], [-1, 0, 1]],
      'on.npy': ['|b1', [], [true]],
      'empty.npy': ['<i4', [0, 2], []],
    });
  });
});

it.each([
  ['../../evil', /leads out/],
  ['a/../../evil', /leads out/],
  ['/etc/evil', /leads out/],
  ['C:evil', /leads out/],
  ['a\\b', /leads out/],
  ['a\0b', /leads out/],
  ['é'.repeat(32_766), /"é+…" takes 65536 bytes.*at most 65535: rename/],
])('a weight named %j is no array of an archive', async (name, message) => {
  await write(from, [[name, 'F32', [1], Float32Array.of(1)]]);
  await expect(exportNpz(from, at('x.npz'))).rejects.toThrow(message);
  expect(await readdir(folder)).toEqual(['model.ckpt']);
});

it('a name of 65,535 bytes is read by Python', async () => {
  await write(from, [['n'.repeat(65_531), 'F32', [1], Float32Array.of(1)]]);
  await exportNpz(from, at('x.npz'));
  const code =
    'import sys, zipfile; print([len(n) for n in zipfile.ZipFile(sys.argv[1]).namelist()])';
  const out = execFileSync('python3', ['-c', code, at('x.npz')], { encoding: 'utf8' });
  expect(out.trim()).toBe('[65535]');
});

describe('safetensors', () => {
  it('has the weights and nothing else', async () => {
    await exportSafetensors(from, at('model.safetensors'), {
      rename: { 'fc/*': 'fc.*' },
      drop: ['on'],
    });
    const { document, index } = await openCheckpoint(at('model.safetensors'));
    expect(document).toBeUndefined();
    expect(index.tensors.map(({ name }) => name).sort()).toEqual(['empty', 'fc.bias', 'fc.kernel']);
    const [kernel] = await (await openCheckpoint(at('model.safetensors'))).loadWeights([
      'fc.kernel',
    ]);
    expect(kernel?.bytes).toEqual(bytesOf(KERNEL));
  });
});

describe('tfjs', () => {
  it('of a layers model is a model.json that tfjs loads and predicts the same with', async () => {
    const model = layers.sequential({
      layers: [
        layers.layers.conv2d({ filters: 2, kernelSize: 2, inputShape: [4, 4, 1] }),
        layers.layers.batchNormalization(),
        layers.layers.flatten(),
        layers.layers.dense({ units: 3 }),
      ],
    });
    await model.save(toCheckpoint(at('layers.ckpt')));
    await exportTfjs(at('layers.ckpt'), at('out/model.json'));
    expect((await readdir(at('out'))).sort()).toEqual(['model.json', 'model.weights.bin']);
    const loaded = await layers.loadLayersModel(fromModelJson(at('out/model.json')));
    const x = tf.randomNormal([5, 4, 4, 1]);
    const predict = (of: layers.LayersModel) => [...(of.predict(x) as tf.Tensor).dataSync()];
    expect(predict(loaded)).toEqual(predict(model));
  });

  it('writes no weights beside a JSON that is there already', async () => {
    await writeFile(at('model.json'), 'mine');
    await expect(exportTfjs(from, at('model.json'))).rejects.toThrow(
      /model\.json' is there already/,
    );
    expect(await readdir(folder)).toEqual(['model.ckpt', 'model.json']);
  });

  it('of any other weights is a manifest', async () => {
    await exportTfjs(from, at('model.json'));
    const { weightsManifest, modelTopology } = JSON.parse(await readFile(at('model.json'), 'utf8'));
    expect(modelTopology).toBeUndefined();
    const bytes = await readFile(at(weightsManifest[0].paths[0]));
    const weights = tf.io.decodeWeights(new Uint8Array(bytes).buffer, weightsManifest[0].weights);
    expect([...weights['fc/kernel']!.dataSync()]).toEqual([...KERNEL]);
    expect(weights.on!.dtype).toBe('bool');
    expect(weights.empty!.shape).toEqual([0, 2]);
  });
});

describe.each([
  ['npz', exportNpz, 'x.npz'],
  ['safetensors', exportSafetensors, 'x.safetensors'],
  ['tfjs', exportTfjs, 'x.json'],
  ['torch', exportTorch, 'x.pt'],
] as const)('every export, here to %s,', (format, exported, name) => {
  it('replaces nothing unasked, and leaves nothing behind when it fails', async () => {
    await exported(from, pathToFileURL(at(name)));
    const before = await readFile(at(name));
    await expect(exported(from, at(name), { drop: ['on'] })).rejects.toMatchObject({
      code: 'STORAGE_CONFLICT',
    });
    expect(await readFile(at(name))).toEqual(before);
    await exported(from, at(name), { drop: ['on'], replace: true });
    expect(await readFile(at(name))).not.toEqual(before);
    const damaged = await readFile(from);
    damaged[damaged.length - 5] = 0xff;
    damaged[damaged.indexOf(Buffer.from(bytesOf(KERNEL)), 1) + 2] = 0x55;
    await writeFile(from, damaged);
    const files = await readdir(folder);
    await expect(exported(from, at(`new-${name}`))).rejects.toMatchObject({
      code: 'CHECKPOINT_INVALID',
    });
    expect(await readdir(folder)).toEqual(files);
  });

  it('is a command, which replaces with --force', async () => {
    const args = ['export', from, '--to', format, '-o', at(name)];
    const { code, out } = await highwater(args);
    expect(code).toBe(0);
    expect(out).toContain(name);
    expect(await readdir(folder)).toContain(name);
    const again = await highwater(args);
    expect(again.code).toBe(2);
    expect(again.err).toMatch(/is there already\. --force replaces it\./);
    expect(await highwater([...args, '--force'])).toMatchObject({ code: 0 });
  });

  it('is refused before a byte is read where a folder has the name', async () => {
    await mkdir(at(name));
    await expect(exported(from, at(name), { replace: true })).rejects.toMatchObject({
      code: 'MISCONFIGURATION',
      message: expect.stringContaining(`${name}' is a folder`),
    });
    expect(await readdir(folder)).toEqual(['model.ckpt', name]);
  });
});

it.each([
  ['BF16', 2, exportNpz, 'x.npz'],
  ['I64', 8, exportTfjs, 'x.json'],
  ['U16', 2, exportTorch, 'x.pt'],
] as const)(
  'a weight of %s is refused by name where the format has no such numbers',
  async (dtype, sizeBytes, exported, name) => {
    await write(from, [['steps', dtype, [], new Uint8Array(sizeBytes)]]);
    await expect(exported(from, at(name))).rejects.toThrow(`"steps" is ${dtype}`);
  },
);

describe('the commands', () => {
  it('import shows what a file holds, and writes it with -o', async () => {
    await exportTorch(from, at('model.pt'));
    const shown = await highwater(['import', at('model.pt')]);
    expect(shown.out).toMatch(/fc\/kernel +F32 +\[2, 3\]/);
    const written = await highwater([
      'import',
      at('model.pt'),
      '-o',
      at('new.ckpt'),
      '--rename',
      'fc/*=fc.*',
      '--axes',
      'fc/kernel=IO->OI',
      '--drop',
      'on, empty',
    ]);
    expect(written).toMatchObject({ code: 0, err: '' });
    expect(written.out).toMatch(/new\.ckpt: 2 weights, \d+ B/);
    const [kernel] = await (await openCheckpoint(at('new.ckpt'))).loadWeights(['fc.kernel']);
    expect(kernel?.shape).toEqual([3, 2]);
    const again = await highwater(['import', at('model.pt'), '-o', at('new.ckpt')]);
    expect(again).toMatchObject({ code: 2, err: expect.stringMatching(/already\. --force/) });
    const json = await highwater(['import', at('model.pt'), '--json']);
    expect(JSON.parse(json.out)).toMatchObject({ savedBy: 'pytorch', weights: expect.any(Array) });
  });

  it.each([
    [['export', 'x.ckpt'], /export needs --to: safetensors, npz, tfjs, torch/],
    [['export', 'x.ckpt', '--to', 'npy'], /Did you mean 'npz'/],
    [['export', 'x.ckpt', '--to', 'npz', '--layout', 'lightning'], /--layout is for --to torch/],
    [['import', 'x.pt', '--rename', 'a'], /--rename has 'a', but each of its items is OLD=NEW/],
    [['import', 'no-such.pt'], /There is no file/],
  ])('%j is told what is right', async (args, message) => {
    const { code, err } = await highwater(args);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });

  it('import says that a file is refused, with exit code 1', async () => {
    await writeFile(at('x.pt'), 'not a file of PyTorch');
    const { code, err } = await highwater(['import', at('x.pt')]);
    expect(code).toBe(1);
    expect(err).toMatch(/begins with PK \(byte 0\)/);
  });

  it('openCheckpoint says what to do with a file of PyTorch', async () => {
    await exportTorch(from, at('trained.ckpt'));
    await expect(openCheckpoint(at('trained.ckpt'))).rejects.toThrow(/highwater import/);
  });
});
