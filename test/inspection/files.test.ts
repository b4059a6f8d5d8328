import { linkSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointMismatchError, memoryFiles, openCheckpoint } from '../../src/index.ts';
import {
  averageCheckpoints,
  diff,
  inspect,
  inspectTensor,
  type VerifyProgress,
  verify,
} from '../../src/inspection/index.ts';
import { VERSION } from '../../src/version.ts';
import { collect, f32, i32, temporaryFolder, train, writeForeign } from './runs.ts';

const root = temporaryFolder();
const inRoot = (): string => mkdtempSync(join(root, 'case-'));

async function trained(...losses: number[]): Promise<string> {
  const folder = inRoot();
  await train(folder, losses, { saveTopK: -1 });
  return folder;
}

async function weightIn(path: string, name: string): Promise<number[]> {
  const [tensor] = await (await openCheckpoint(path)).loadWeights([name]);
  return [...new Float32Array(tensor?.bytes.slice().buffer ?? new ArrayBuffer(0))];
}

/** Overwrites the last byte of the data. */
function damage(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(path, bytes);
}

describe('inspect', () => {
  it('tells what a checkpoint holds', async () => {
    const path = join(await trained(0.5, 0.25), 'step=2.ckpt');
    const found = await inspect(path);
    expect(found).toMatchObject({
      path,
      sizeBytes: statSync(path).size,
      state: 'whole',
      formatVersion: 1,
      engine: 'array',
      epoch: 0,
      globalStep: 2,
      score: { monitor: 'loss', mode: 'min', value: 0.25 },
      names: [{ path, role: 'topK', score: 0.25 }],
      hyperParameters: { lr: 0.125 },
    });
    expect(found.metrics.map(({ name, value }) => [name, value])).toEqual([
      ['loss', 0.25],
      ['acc', 0.75],
    ]);
    expect(found.tensors.map(({ group, name, shape }) => [group, name, shape])).toEqual([
      ['model', 'bias', [1]],
      ['model', 'weight', [3]],
    ]);
    expect(found.totals).toEqual([{ group: 'model', tensors: 2, elements: 4, sizeBytes: 16 }]);
  });

  it('reads the header only, of a file that claims a terabyte', async () => {
    const path = join(inRoot(), 'sparse.safetensors');
    const header = `{"w":{"dtype":"U8","shape":[1099511627776],"data_offsets":[0,1099511627776]}}   `;
    const start = Buffer.alloc(8 + header.length);
    start.writeBigUInt64LE(BigInt(header.length));
    start.write(header, 8);
    const storage = memoryFiles();
    const found = await inspect(path, {
      storage: {
        ...storage,
        stat: async () => ({
          path,
          kind: 'file',
          sizeBytes: start.length + 2 ** 40,
          modifiedAtMs: 0,
        }),
        read: async (_, { offset, length } = { offset: 0, length: 0 }) =>
          new Uint8Array(start.subarray(offset, offset + length)),
      },
    });
    expect(found.totals).toEqual([
      { group: 'model', tensors: 1, elements: 2 ** 40, sizeBytes: 2 ** 40 },
    ]);
  });

  it('looks closely at one tensor', async () => {
    const path = join(inRoot(), 'a.safetensors');
    writeForeign(path, [f32('w', [1, 2, 3, 4, Number.NaN, Infinity, 0])]);
    expect(await inspectTensor(path, 'w', { parts: 2 })).toMatchObject({
      name: 'w',
      dtype: 'F32',
      statistics: {
        count: 7,
        nanCount: 1,
        infinityCount: 1,
        zeroCount: 1,
        min: 0,
        max: 4,
        mean: 2,
      },
      histogram: { low: 0, high: 4, counts: [2, 3] },
    });
    await expect(inspectTensor(path, 'v')).rejects.toMatchObject({ code: 'TENSOR_NOT_FOUND' });
    writeForeign(path, [f32('w', [Number.NaN])]);
    expect(await inspectTensor(path, 'w')).toMatchObject({ histogram: null });
  });

  it('does not give statistics of damaged bytes', async () => {
    const path = join(await trained(0.5), 'step=1.ckpt');
    damage(path);
    await expect(inspectTensor(path, 'weight')).rejects.toThrow(
      /'weight'.*does not match its checksum/,
    );
  });
});

describe('verify', () => {
  it('names every damaged tensor of every file, and goes on', async () => {
    const folder = await trained(0.5, 0.25, 0.125);
    damage(join(folder, 'step=2.ckpt'));
    const told: VerifyProgress[] = [];
    const found = await collect(verify(folder, { onProgress: (progress) => told.push(progress) }));
    expect(found.map(({ isSound, state }) => [isSound, state])).toEqual([
      [true, 'whole'],
      [false, 'corrupt'],
      [true, 'whole'],
    ]);
    expect(found[1]?.problems).toEqual([expect.stringContaining("tensor 'weight'")]);
    const last = told.at(-1);
    expect(last).toMatchObject({ filesDone: 2, files: 3, bytesDone: last?.bytes });
  });

  it('reads a large tensor in parts', async () => {
    const path = join(inRoot(), 'large.safetensors');
    const bytes = new Uint8Array(20 * 2 ** 20 + 4);
    writeForeign(path, [{ name: 'w', dtype: 'U8', shape: [bytes.length], bytes }]);
    const done: number[] = [];
    const onProgress = ({ bytesDone }: VerifyProgress): number => done.push(bytesDone);
    expect(await collect(verify(path, { onProgress }))).toMatchObject([{ isSound: true }]);
    expect(done).toHaveLength(1 + 3);
  });

  it('refuses what is not there', async () => {
    await expect(collect(verify(join(root, 'nothing')))).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    });
  });
});

describe('diff', () => {
  it('finds no difference in two names of one save', async () => {
    const folder = await trained(0.5);
    linkSync(join(folder, 'step=1.ckpt'), join(folder, 'copy.ckpt'));
    expect(await diff(join(folder, 'step=1.ckpt'), join(folder, 'copy.ckpt'))).toEqual({
      isSame: true,
      metadata: [],
      tensors: [],
      sameTensors: 2,
    });
  });

  it('tells what training has changed, and by how much', async () => {
    const folder = await trained(0.5, 0.25);
    const found = await diff(join(folder, 'step=1.ckpt'), join(folder, 'step=2.ckpt'));
    expect(found.metadata).toContainEqual({
      name: 'globalStep',
      change: 'changed',
      before: 1,
      after: 2,
    });
    expect(found.metadata).toContainEqual({
      name: 'metrics.loss',
      change: 'changed',
      before: 0.5,
      after: 0.25,
    });
    expect(found.sameTensors).toBe(1);
    // A step of SGD with rate 0.125 along [0.25, -1, 0].
    expect(found.tensors).toMatchObject([
      { name: 'weight', change: 'changed', difference: { changedCount: 2, maxAbs: 0.125 } },
    ]);
  });

  it('puts the most changed first, then what has another form, came or went', async () => {
    const folder = inRoot();
    const [a, b] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')];
    writeForeign(a, [
      f32('bit', [1, 1]),
      f32('form', [1]),
      f32('gone', [1]),
      f32('much', [1, 1]),
      f32('nan', [1, 1]),
      f32('same', [1]),
    ]);
    writeForeign(b, [
      f32('bit', [1, 1.5]),
      f32('form', [1, 2]),
      f32('much', [1, 9]),
      f32('nan', [1, Number.NaN]),
      f32('new', [1]),
      f32('same', [1]),
    ]);
    const { tensors, sameTensors, isSame } = await diff(a, b);
    expect(tensors.map(({ name, change }) => [name, change])).toEqual([
      ['nan', 'changed'],
      ['much', 'changed'],
      ['bit', 'changed'],
      ['form', 'reshaped'],
      ['new', 'added'],
      ['gone', 'removed'],
    ]);
    expect([sameTensors, isSame]).toEqual([1, false]);
  });
});

describe('averageCheckpoints', () => {
  it('writes the mean as weights that a module can load', async () => {
    const folder = await trained(0.5, 0.25);
    const paths = [join(folder, 'step=1.ckpt'), join(folder, 'step=2.ckpt')];
    const path = join(folder, 'soup.ckpt');
    expect(await averageCheckpoints(paths, path)).toEqual({
      path,
      sizeBytes: statSync(path).size,
      tensors: 2,
    });
    const [one, two] = [await weightIn(paths[0]!, 'weight'), await weightIn(paths[1]!, 'weight')];
    expect(await weightIn(path, 'weight')).toEqual(one.map((value, i) => (value + two[i]!) / 2));
    expect(await inspect(path)).toMatchObject({
      state: 'weights only',
      globalStep: 2,
      hyperParameters: { lr: 0.125 },
      document: { averageOf: ['step=1.ckpt', 'step=2.ckpt'] },
    });
    expect(await collect(verify(path))).toMatchObject([{ isSound: true, state: 'weights only' }]);
  });

  it('is the float64 mean rounded once, of any number of files', async () => {
    const value = fc.float({ noNaN: true, noDefaultInfinity: true });
    await fc.assert(
      fc.asyncProperty(fc.array(value, { minLength: 2, maxLength: 5 }), async (values) => {
        const folder = inRoot();
        const files = values.map((value, i) => {
          writeForeign(join(folder, `${i}.safetensors`), [f32('w', [value])]);
          return join(folder, `${i}.safetensors`);
        });
        await averageCheckpoints(files, join(folder, 'soup.ckpt'));
        expect((await inspect(join(folder, 'soup.ckpt'))).version).toBe(VERSION);
        const mean = values.reduce((a, b) => a + b, 0) / values.length;
        expect(await weightIn(join(folder, 'soup.ckpt'), 'w')).toEqual([Math.fround(mean) + 0]);
      }),
      { numRuns: 20 },
    );
  });

  it('keeps integers that are equal, and refuses them when they are not', async () => {
    const folder = inRoot();
    const [a, b, c] = ['a', 'b', 'c'].map((name) => join(folder, `${name}.safetensors`)) as [
      string,
      string,
      string,
    ];
    writeForeign(a, [f32('w', [1]), i32('steps', [7])]);
    writeForeign(b, [f32('w', [3]), i32('steps', [7])]);
    writeForeign(c, [f32('w', [3]), i32('steps', [8])]);
    const soup = join(folder, 'soup.ckpt');
    await averageCheckpoints([a, b], soup);
    expect(await weightIn(soup, 'w')).toEqual([2]);
    await expect(averageCheckpoints([a, c], join(folder, 'other.ckpt'))).rejects.toThrow(
      /'steps' is I32, which is not averaged, so it must be equal/,
    );
    expect(() => statSync(join(folder, 'other.ckpt'))).toThrow('ENOENT');
  });

  it('says in what models differ', async () => {
    const folder = inRoot();
    const [a, b] = [join(folder, 'a.safetensors'), join(folder, 'b.safetensors')];
    writeForeign(a, [f32('gone', [1]), f32('w', [1])]);
    writeForeign(b, [f32('new', [1]), f32('w', [1, 2])]);
    const refused = averageCheckpoints([a, b], join(folder, 'soup.ckpt'));
    await expect(refused).rejects.toThrow(CheckpointMismatchError);
    await expect(refused).rejects.toMatchObject({
      mismatches: [
        `'${b}' has no 'gone'`,
        `'w' is F32 [2] in '${b}', not F32 [1]`,
        `only '${b}' has 'new'`,
      ],
    });
  });

  it('replaces no file unless it is told to, and needs two', async () => {
    const folder = await trained(0.5, 0.25);
    const [a, b] = [join(folder, 'step=1.ckpt'), join(folder, 'step=2.ckpt')];
    const before = readFileSync(b);
    await expect(averageCheckpoints([a, b], b)).rejects.toMatchObject({ code: 'STORAGE_CONFLICT' });
    expect(readFileSync(b)).toEqual(before);
    await averageCheckpoints([a, b], b, { replace: true });
    expect((await inspect(b)).state).toBe('weights only');
    await expect(averageCheckpoints([a], b)).rejects.toThrow('at least two');
  });

  it('writes nothing when a file is damaged', async () => {
    const folder = await trained(0.5, 0.25);
    const [a, b] = [join(folder, 'step=1.ckpt'), join(folder, 'step=2.ckpt')];
    damage(b);
    await expect(averageCheckpoints([a, b], join(folder, 'soup.ckpt'))).rejects.toThrow(/damaged/);
    expect(() => statSync(join(folder, 'soup.ckpt'))).toThrow('ENOENT');
  });
});
