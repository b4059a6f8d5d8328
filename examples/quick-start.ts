import '@tensorflow/tfjs-layers';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { DataLoader, ModelCheckpoint, Trainer } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';

tf.enableProdMode(); // Keeps TensorFlow.js's banner out of the output.

class Line extends TfjsModule<number[]> {
  readonly slope = tf.variable(tf.scalar(0));
  readonly offset = tf.variable(tf.scalar(0));

  #loss(xs: number[]): tf.Tensor {
    const x = tf.tensor1d(xs);
    const y = tf.add(tf.mul(x, this.slope), this.offset);
    return tf.losses.meanSquaredError(tf.add(tf.mul(x, 2), 1), y);
  }
  override trainingStep(xs: number[]): tf.Tensor {
    return this.#loss(xs);
  }
  override validationStep(xs: number[]): void {
    this.log('val_loss', this.#loss(xs), { progBar: true });
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.05);
  }
}

const checkpoint = new ModelCheckpoint({ monitor: 'val_loss', saveTopK: 3, saveLast: true });
const trainer = new Trainer({ maxEpochs: 10, defaultRootDir: 'runs/line', callbacks: checkpoint });
await trainer.fit(new Line(), {
  trainDataloaders: new DataLoader([-2, -1, 0, 1, 2, 3, 4, 5], { batchSize: 2, shuffle: true }),
  valDataloaders: [[0.5, 1.5, 2.5]],
  ckptPath: 'last', // Run it again, and it goes on; a fresh start when there is nothing yet.
});
console.log(checkpoint.bestModelPath, checkpoint.bestModelScore);
