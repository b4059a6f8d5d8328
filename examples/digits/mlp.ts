import '@tensorflow/tfjs-layers'; // The gradients come with it.
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { exponentialLR, type LRScheduler } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';
import { type Batch, PIXELS } from './data.ts';

/** Loads tfjs's WebAssembly backend. */
export async function useWasm(): Promise<void> {
  const require = createRequire(import.meta.url);
  setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
  await tf.setBackend('wasm');
}

/** 784-128-10, trained with Adam; the learning rate falls by a fifth after each epoch. */
export class Mlp extends TfjsModule<Batch> {
  readonly fc1 = dense(PIXELS, 128, 1);
  readonly fc2 = dense(128, 10, 2);

  #logits({ x, y }: Batch): tf.Tensor2D {
    const input = tf.tensor2d(x, [y.length, PIXELS]);
    const hidden = tf.relu(tf.add(tf.matMul(input, this.fc1.kernel), this.fc1.bias));
    return tf.add(tf.matMul(hidden as tf.Tensor2D, this.fc2.kernel), this.fc2.bias);
  }

  override trainingStep(batch: Batch): tf.Tensor {
    const labels = tf.oneHot(tf.tensor1d(batch.y, 'int32'), 10);
    const loss = tf.losses.softmaxCrossEntropy(labels, this.#logits(batch));
    this.log('train_loss', loss, { progBar: true, syncDist: true });
    return loss;
  }

  override validationStep(batch: Batch): void {
    const guess = tf.argMax(this.#logits(batch), 1);
    const hits = tf.equal(guess, tf.tensor1d(batch.y, 'int32'));
    this.log('val_acc', tf.mean(tf.cast(hits, 'float32')), {
      batchSize: batch.y.length,
      progBar: true,
      syncDist: true,
    });
  }

  override configureOptimizers(): { optimizer: tf.Optimizer; lrScheduler: LRScheduler } {
    return { optimizer: tf.train.adam(0.001), lrScheduler: exponentialLR({ gamma: 0.8 }) };
  }
}

function dense(
  inputs: number,
  outputs: number,
  seed: number,
): { kernel: tf.Variable<tf.Rank.R2>; bias: tf.Variable } {
  const stddev = Math.sqrt(2 / inputs);
  return {
    kernel: tf.variable(tf.randomNormal<tf.Rank.R2>([inputs, outputs], 0, stddev, 'float32', seed)),
    bias: tf.variable(tf.zeros([outputs])),
  };
}
