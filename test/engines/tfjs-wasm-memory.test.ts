import '@tensorflow/tfjs-layers';
import '@tensorflow/tfjs-backend-cpu';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type BackendWasm, setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import {
  localFiles,
  ModelCheckpoint,
  memoryFiles,
  openCheckpoint,
  type Storage,
  Trainer,
} from '../../src/index.ts';
import { type FileSystem, nodeFileSystem } from '../../src/storages/local/file-system.ts';

const wasm = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
setWasmPaths(`${dirname(wasm)}/`);

/** Two weights that stay as they are, and one that is trained. */
class Model extends TfjsModule<number> {
  readonly first: tf.Variable;
  readonly second: tf.Variable;
  readonly trained = tf.variable(tf.scalar(1));

  constructor(size: number) {
    super();
    this.first = tf.variable(tf.range(0, size), false);
    this.second = tf.variable(tf.range(size, 2 * size), false);
  }
  override trainingStep(): tf.Tensor {
    return tf.square(this.trained);
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.sgd(0.1);
  }
}

/** Takes so much memory that WebAssembly's grows, which detaches all views of it. */
function growMemory(): void {
  const backend = tf.backend() as BackendWasm & { wasm: { HEAPU8: Uint8Array } };
  const heap = (): ArrayBufferLike => backend.wasm.HEAPU8.buffer;
  const before = heap();
  const tensors: tf.Tensor[] = [];
  while (heap() === before) tensors.push(tf.zeros([1 << 20]));
  tf.dispose(tensors);
  expect(before.byteLength).toBe(0);
}

/** A disk that begins to write only when what was called after it is done. */
const slowDisk: FileSystem = {
  ...nodeFileSystem,
  async open(path, mode) {
    const file = await nodeFileSystem.open(path, mode);
    const writev: typeof file.writev = async (views, position) => {
      await setTimeout(50);
      return await file.writev(views, position);
    };
    return { ...file, writev };
  },
};

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'highwater-'));
  await tf.setBackend('wasm');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Has the cpu backend work on a weight, which takes it out of WebAssembly's memory, where others fill its place. */
async function moveToOtherBackend({ first }: Model): Promise<void> {
  await tf.setBackend('cpu');
  tf.dispose(tf.neg(first));
  await tf.setBackend('wasm');
  tf.dispose([tf.fill(first.shape, 99), tf.fill(first.shape, 98)]);
}

/** Trains a step and saves, with `meddle` while bytes are written; what the file holds afterwards. */
async function savedWith(
  files: Storage,
  model: Model,
  meddle: (call: number) => void | Promise<void>,
): Promise<readonly number[]> {
  let calls = 0;
  const storage: Storage = {
    ...files,
    async writer(path, options) {
      const writer = await files.writer(path, options);
      const meddling = async (work: Promise<void>): Promise<void> => {
        await meddle(calls++);
        await work;
      };
      return {
        ...writer,
        write: (views) => meddling(writer.write(views)),
        patch: (offset, bytes) => meddling(writer.patch(offset, bytes)),
      };
    },
  };
  const checkpoint = new ModelCheckpoint({ dirpath: folder, filename: 'a' });
  const trainer = new Trainer({
    ...{ maxEpochs: 1, logger: false, enableProgressBar: false, enableModelSummary: false },
    ...{ storage, callbacks: checkpoint },
  });
  await trainer.fit(model, { trainDataloaders: [0] });
  expect(calls).toBeGreaterThan(1);
  const reader = await openCheckpoint(checkpoint.bestModelPath, { storage: files });
  await reader.verify();
  const weights = await reader.loadWeights(['first', 'second']);
  return weights.flatMap(({ bytes }) => [...new Float32Array(bytes.slice().buffer)]);
}

// 8 KB is written at once, 5 MB in batches, with checksums from a thread or from this one.
describe.each([1e3, 6e5])('%d numbers that move while they are written', (size) => {
  describe.each<[string, () => Storage]>([
    ['on disk', () => localFiles({ fs: slowDisk })],
    ['in memory', memoryFiles],
  ])('%s', (_, files) => {
    it('because memory grows, are saved as they were', async () => {
      const model = new Model(size);
      const saved = await savedWith(files(), model, (call) => {
        if (call < 3) growMemory();
      });
      expect(saved.length).toBe(2 * size);
      expect(saved.every((value, i) => value === i)).toBe(true);
      model.dispose();
    });

    it('because another backend takes them, are saved as they were', async () => {
      const model = new Model(size);
      const saved = await savedWith(files(), model, (call) =>
        call === 0 ? moveToOtherBackend(model) : undefined,
      );
      expect(saved.length).toBe(2 * size);
      expect(saved.every((value, i) => value === i)).toBe(true);
      model.dispose();
    });
  });
});
