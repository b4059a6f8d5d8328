import '@tensorflow/tfjs-layers';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
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

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'highwater-'));
  await tf.setBackend('wasm');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

// 8 KB is written at once, 16 MB in batches, with checksums from a thread or from this one.
describe.each([1e3, 2e6])('%d numbers in memory that moves while they are written', (size) => {
  it.each<[string, () => Storage]>([
    ['on disk', localFiles],
    ['in memory', memoryFiles],
  ])('are saved as they were, %s', async (_, files) => {
    const inner = files();
    let moves = 0;
    const storage: Storage = {
      ...inner,
      async writer(path, options) {
        growMemory();
        const writer = await inner.writer(path, options);
        return {
          ...writer,
          write(views) {
            const writing = writer.write(views);
            growMemory();
            moves += 1;
            return writing;
          },
          patch(offset, bytes) {
            const patching = writer.patch(offset, bytes);
            if (moves++ < 3) growMemory();
            return patching;
          },
        };
      },
    };
    const checkpoint = new ModelCheckpoint({ dirpath: folder, filename: 'a' });
    const trainer = new Trainer({
      ...{ maxEpochs: 1, logger: false, enableProgressBar: false, enableModelSummary: false },
      ...{ storage, callbacks: checkpoint },
    });
    const model = new Model(size);
    await trainer.fit(model, { trainDataloaders: [0] });
    expect(moves).toBeGreaterThan(2);
    const reader = await openCheckpoint(checkpoint.bestModelPath, { storage: inner });
    await reader.verify();
    const weights = await reader.loadWeights(['first', 'second']);
    const numbers = weights.flatMap(({ bytes }) => [...new Float32Array(bytes.slice().buffer)]);
    expect(numbers.length).toBe(2 * size);
    expect(numbers.every((value, i) => value === i)).toBe(true);
    model.dispose();
  });
});
