// Run it where `python train.py` has written circle.pt: docs/guides/from-python.md.
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { DataLoader, ModelCheckpoint, Trainer } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';
import { exportTorch, importTorch } from 'highwater/torch';

tf.enableProdMode(); // Keeps TensorFlow.js's banner out of the output.

type Point = readonly [x: number, y: number];

class Circle extends TfjsModule<Point[]> {
  readonly hidden = { kernel: tf.variable(tf.zeros([2, 16])), bias: tf.variable(tf.zeros([16])) };
  readonly out = { kernel: tf.variable(tf.zeros([16, 1])), bias: tf.variable(tf.zeros([1])) };

  predict(points: Point[]): tf.Tensor1D {
    const x = tf.tensor2d(points as [number, number][]);
    const hidden = tf.relu(
      tf.add(tf.matMul(x, this.hidden.kernel as tf.Tensor2D), this.hidden.bias),
    );
    return tf.squeeze(
      tf.add(tf.matMul(hidden, this.out.kernel as tf.Tensor2D), this.out.bias),
      [1],
    );
  }
  loss(points: Point[]): tf.Scalar {
    const inside = tf.tensor1d(points.map(([x, y]) => Number(Math.hypot(x, y) < 0.7)));
    return tf.losses.sigmoidCrossEntropy(inside, this.predict(points));
  }
  override trainingStep(points: Point[]): tf.Tensor {
    return this.loss(points);
  }
  override validationStep(points: Point[]): void {
    this.log('val_loss', this.loss(points));
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.01);
  }
}

const axis = Array.from({ length: 20 }, (_, i) => -1 + (2 * i) / 19);
const points = axis.flatMap((x) => axis.map((y): Point => [x, y]));
const say = (what: string, circle: Circle): void =>
  console.log(`${what}: loss ${circle.loss(points).dataSync()[0]?.toFixed(6)}`);

// PyTorch's linear layers hold [out, in] under `weight`, ours [in, out] under `kernel`.
const trained = await importTorch('circle.pt', {
  rename: { '*.weight': '*.kernel' },
  axes: { '*.weight': 'OI->IO' },
});
await trained.save('circle.ckpt', { replace: true });
const circle = await Circle.loadFromCheckpoint('circle.ckpt');
say('TypeScript begins', circle);

const checkpoint = new ModelCheckpoint({ monitor: 'val_loss', dirpath: 'checkpoints' });
const trainer = new Trainer({ maxEpochs: 20, callbacks: checkpoint, enableProgressBar: false });
await trainer.fit(circle, {
  trainDataloaders: new DataLoader(points, { batchSize: 50, shuffle: true }),
  valDataloaders: [points],
});
const best = await Circle.loadFromCheckpoint(checkpoint.bestModelPath);
say('TypeScript trained', best);
console.log(JSON.stringify([...best.predict(points.slice(0, 5)).dataSync()]));

await exportTorch(checkpoint.bestModelPath, 'circle-back.pt', {
  rename: { '*.kernel': '*.weight' },
  axes: { '*.kernel': 'IO->OI' },
  replace: true,
});
