import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-layers';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import {
  cosineAnnealingLR,
  exponentialLR,
  type LRSchedulerConfig,
  reduceLROnPlateau,
  type TrainingModule,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients, type ScheduledSgd } from '../support/array-module.ts';
import type { Configuration } from './configuration.ts';

export type Batch = readonly number[];

/** What a run asks of a module beside training. */
export interface Probe {
  readonly module: TrainingModule<Batch>;
  /** All weights, as they are. */
  weights(): number[];
}

/** A module for a configuration, always with the same weights. */
export function makeModule(configuration: Configuration): Probe {
  if (configuration.engine === 'array') {
    const module = new NoisyArrays(configuration);
    return { module, weights: () => ['a', 'b'].flatMap((name) => [...module.weight(name)]) };
  }
  const module = new NoisyTensors(configuration);
  return {
    module,
    weights: () => {
      const { kernel, bias, movingMean } = module;
      return [kernel, bias, movingMean].flatMap((weight) => [...weight.dataSync()]);
    },
  };
}

/** Draws noise in every step; logs by step and by epoch, and in hooks of both. */
class NoisyArrays extends ArrayModule<Batch> {
  /** State of its own, kept in the checkpoint by its hooks. */
  seen = 0;
  readonly #configuration: Configuration;

  constructor(configuration: Configuration) {
    super({ a: [1, -1], b: [0.25] });
    this.#configuration = configuration;
  }
  override configureOptimizers(): ScheduledSgd | ScheduledSgd['optimizer'] {
    const momentum = this.#configuration.optimizer === 'sgd' ? 0 : 0.9;
    const optimizer = { learningRate: 0.05, momentum };
    const lrScheduler = scheduleOf(this.#configuration);
    return lrScheduler === undefined ? optimizer : { optimizer, lrScheduler };
  }
  override trainingStep(batch: Batch): LossAndGradients {
    const noise = this.rng.normal();
    const loss = batch.reduce((sum, item) => sum + item, 0) * noise + (this.weight('a')[0] ?? 0);
    this.seen += batch.length;
    this.log('loss', loss, { onStep: true, onEpoch: true, batchSize: batch.length, progBar: true });
    this.log('least', loss, { onEpoch: true, reduceFx: 'min' });
    this.log('rate', this.learningRate);
    return { loss, gradients: { a: [noise, loss], b: [noise / 10] } };
  }
  override onTrainBatchEnd(): void {
    this.log('batch_end', this.rng.uniform(), { onEpoch: true });
  }
  override onTrainEpochEnd(): void {
    this.log('epoch_end', this.rng.uniform());
  }
  override validationStep(batch: Batch): void {
    const [item = 0] = batch;
    const value = item + (this.weight('a')[1] ?? 0) + this.rng.uniform();
    this.log('val_loss', value, { progBar: true });
  }
  override onSaveCheckpoint(checkpoint: Record<string, unknown>): void {
    checkpoint.seen = { count: Int32Array.of(this.seen) };
  }
  override onLoadCheckpoint(checkpoint: Record<string, unknown>): void {
    this.seen = (checkpoint.seen as { count: Int32Array }).count[0] ?? Number.NaN;
  }
}

/** A dense layer with dropout, whose seed is drawn at each step, and a moving mean. */
class NoisyTensors extends TfjsModule<Batch> {
  readonly kernel = tf.variable(tf.tensor2d([0.5, -0.25, 0.125], [3, 1]));
  readonly bias = tf.variable(tf.tensor1d([0.1]));
  /** No gradient moves it: the forward pass does. */
  readonly movingMean = tf.variable(tf.scalar(0), false);
  readonly #configuration: Configuration;

  constructor(configuration: Configuration) {
    super();
    this.#configuration = configuration;
  }
  #loss(batch: Batch, keepAll: boolean): tf.Tensor {
    const x = tf.tensor2d(
      batch.flatMap((item) => [item, item * item, 1]),
      [batch.length, 3],
    );
    const kept = keepAll ? x : tf.dropout(x, 0.3, undefined, this.rng.nextSeed());
    const y = tf.add(tf.matMul(kept as tf.Tensor2D, this.kernel), this.bias);
    return tf.mean(tf.square(tf.sub(y, 1)));
  }
  override trainingStep(batch: Batch): tf.Tensor {
    this.movingMean.assign(tf.add(tf.mul(this.movingMean, 0.9), 0.1 * (batch[0] ?? 0)));
    const loss = this.#loss(batch, false);
    this.log('loss', loss, { onStep: true, onEpoch: true, batchSize: batch.length, progBar: true });
    return loss;
  }
  override validationStep(batch: Batch): void {
    this.log('val_loss', this.#loss(batch, true), { progBar: true });
  }
  override configureOptimizers(): tf.Optimizer | { optimizer: tf.Optimizer } {
    const optimizer = {
      sgd: () => tf.train.sgd(0.01),
      momentum: () => tf.train.momentum(0.01, 0.9),
      adam: () => tf.train.adam(0.01),
      rmsprop: () => tf.train.rmsprop(0.01),
      adagrad: () => tf.train.adagrad(0.01),
    }[this.#configuration.optimizer]();
    const lrScheduler = scheduleOf(this.#configuration);
    return lrScheduler === undefined ? optimizer : { optimizer, ...{ lrScheduler } };
  }
}

function scheduleOf({ schedule, valLoaders }: Configuration): LRSchedulerConfig | undefined {
  const plateau = { patience: 0, factor: 0.5, threshold: 0.5 };
  const monitor = monitorOf(valLoaders);
  switch (schedule) {
    case 'none':
      return undefined;
    case 'step':
      return { scheduler: cosineAnnealingLR({ tMax: 7 }), interval: 'step' };
    case 'epoch':
      return { scheduler: exponentialLR({ gamma: 0.7 }) };
    case 'plateau by step':
      return {
        scheduler: reduceLROnPlateau(plateau),
        interval: 'step',
        frequency: 2,
        monitor,
        strict: false,
      };
    case 'plateau by epoch':
      return { scheduler: reduceLROnPlateau(plateau), monitor, strict: false };
  }
}

/** What callbacks and schedules look at. */
export function monitorOf(valLoaders: Configuration['valLoaders']): string {
  if (valLoaders === 0) return 'loss';
  return valLoaders === 1 ? 'val_loss' : 'val_loss/dataloader_idx_1';
}
