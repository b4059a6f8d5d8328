/** One rank of a job that trains a tfjs model with BatchNorm, and writes which weights it had in each hook. */
import '@tensorflow/tfjs-backend-cpu';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { DataLoader, ModelCheckpoint, Trainer } from '../../src/index.ts';

const { OUT = '', EPOCHS = '2', RESULTS = '' } = process.env;

/** What a rank had, by hook, and in the end. */
export interface BatchNormResult {
  readonly hooks: readonly string[];
  readonly movingMean: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly val: number;
}

class Normalised extends TfjsModule<readonly number[]> {
  readonly model = layers.sequential({
    layers: [
      layers.layers.dense({ units: 4, inputShape: [2], name: 'in', ...initial(1) }),
      layers.layers.batchNormalization({ name: 'norm' }),
      layers.layers.dense({ units: 1, name: 'out', ...initial(2) }),
    ],
  });

  #loss(items: readonly number[], training: boolean): tf.Tensor {
    const x = tf.tensor2d(items.map((item) => [item / 10, Math.sin(item)]));
    const y = tf.tensor2d(items.map((item) => [Math.cos(item)]));
    return tf.mean(tf.square(tf.sub(this.model.apply(x, { training }) as tf.Tensor, y)));
  }
  override trainingStep(items: readonly number[]): tf.Tensor {
    return this.#loss(items, true);
  }
  override validationStep(items: readonly number[]): void {
    const options = { batchSize: items.length, syncDist: true };
    this.log('val', this.#loss(items, false), options);
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.01);
  }

  weights(): Record<string, readonly number[]> {
    const weights: Record<string, readonly number[]> = {};
    for (const { group, name, handle } of this.state()) {
      if (group === 'model') weights[name] = [...(handle as tf.Variable).dataSync()];
    }
    return weights;
  }
}

/** Not alike on all ranks: training begins with those of rank 0. */
function initial(layer: number): object {
  const seed = 10 * layer + trainer.strategy.rank;
  return { kernelInitializer: layers.initializers.glorotUniform({ seed }) };
}

const hooks: string[] = [];
const note = (hook: string) => () => {
  hooks.push(`${hook} ${JSON.stringify(module.weights())}`);
};
const trainer = new Trainer({
  maxEpochs: Number(EPOCHS),
  defaultRootDir: OUT,
  enableProgressBar: false,
  enableModelSummary: false,
  logger: false,
  callbacks: [
    new ModelCheckpoint({ dirpath: OUT, everyNTrainSteps: 2, saveTopK: -1, saveLast: true }),
    {
      onTrainBatchStart: note('batch start'),
      onTrainBatchEnd: note('batch end'),
      onValidationStart: note('validation'),
      onSaveCheckpoint: note('save'),
    },
  ],
});
const module = new Normalised();
await tf.setBackend('cpu');
await trainer.fit(module, {
  trainDataloaders: new DataLoader(
    Array.from({ length: 44 }, (_, i) => i),
    { batchSize: 8, shuffle: true },
  ),
  valDataloaders: new DataLoader([1, 2, 3, 4, 5, 6, 7], { batchSize: 4 }),
  ckptPath: 'last',
});
const weights = module.weights();
const result: BatchNormResult = {
  hooks,
  movingMean: weights['model.norm.moving_mean'] ?? [],
  weights,
  val: trainer.callbackMetrics.val ?? Number.NaN,
};
writeFileSync(join(RESULTS, `${trainer.strategy.rank}.json`), JSON.stringify(result));
