// Its gradients come with it: tfjs-core alone has none in Node.
import '@tensorflow/tfjs-layers';
import * as tf from '@tensorflow/tfjs-core';
import { TfjsModule } from 'highwater/tfjs';

/** The MLP of the digits example, and its batches. */
export const [BATCH, PIXELS, HIDDEN, CLASSES] = [64, 784, 128, 10] as const;

export interface Batch {
  /** `[64 × 784]`, flat. */
  readonly x: Float32Array;
  readonly y: Int32Array;
}

/** Batches of made-up pixels, always the same. */
export function makeBatches(count: number): readonly Batch[] {
  return Array.from({ length: count }, (_, i) => ({
    x: Float32Array.from({ length: BATCH * PIXELS }, (_, j) => Math.abs(Math.sin(i * 7919 + j))),
    y: Int32Array.from({ length: BATCH }, (_, j) => (i + j) % CLASSES),
  }));
}

const random = (shape: [number, number], seed: number): tf.Variable =>
  tf.variable(tf.randomNormal(shape, 0, 0.05, 'float32', seed));

export class TfjsMlp extends TfjsModule<Batch> {
  readonly w1 = random([PIXELS, HIDDEN], 1);
  readonly b1 = tf.variable(tf.zeros([HIDDEN]));
  readonly w2 = random([HIDDEN, CLASSES], 2);
  readonly b2 = tf.variable(tf.zeros([CLASSES]));

  loss({ x, y }: Batch): tf.Scalar {
    const input = tf.tensor2d(x, [y.length, PIXELS]);
    const hidden = tf.relu(tf.add(tf.matMul(input, this.w1 as tf.Tensor2D), this.b1));
    const logits = tf.add(tf.matMul(hidden as tf.Tensor2D, this.w2 as tf.Tensor2D), this.b2);
    return tf.losses.softmaxCrossEntropy(tf.oneHot(tf.tensor1d(y, 'int32'), CLASSES), logits);
  }
  override trainingStep(batch: Batch): tf.Tensor {
    const loss = this.loss(batch);
    this.log('train_loss', loss);
    return loss;
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.001);
  }
}

/** Milliseconds of a step for each batch as tfjs's own guides write them, a turn of the event loop each. */
export async function tfjsByHand(batches: readonly Batch[]): Promise<number> {
  const module = new TfjsMlp();
  const optimizer = tf.train.adam(0.001);
  const began = performance.now();
  for (const batch of batches) {
    optimizer.minimize(() => module.loss(batch))?.dispose();
    await tf.nextFrame();
  }
  const ms = performance.now() - began;
  optimizer.dispose();
  module.dispose();
  return ms;
}
