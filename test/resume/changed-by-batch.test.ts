import '@tensorflow/tfjs-backend-cpu';
import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, it } from 'vitest';
import { JaxModule, type ScaledOptimizer, type StepOutput } from '../../src/engines/jax/index.ts';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import {
  type Callback,
  ModelCheckpoint,
  memoryFiles,
  type Storage,
  Trainer,
  type TrainingModule,
} from '../../src/index.ts';
import { stateOf } from '../../src/testing/engine-contract/check.ts';
import { directions } from '../support/jax-optimizers.ts';

/** A moving mean that no gradient moves, and a weight that the forward pass clips before it is trained. */
class Buffered extends TfjsModule<number> {
  readonly weight = tf.variable(tf.scalar(1));
  readonly clipped = tf.variable(tf.scalar(1));
  readonly moving = tf.variable(tf.scalar(0), false);

  trainingStep(item: number): tf.Tensor {
    this.moving.assign(tf.add(tf.mul(this.moving, 0.9), item * 0.1));
    this.clipped.assign(tf.mul(this.clipped, 0.5));
    const output = tf.add(tf.mul(this.weight, this.clipped), this.moving);
    return tf.square(tf.sub(output, item));
  }
  configureOptimizers(): tf.Optimizer {
    return tf.train.momentum(0.1, 0.9);
  }
}

type Params = { readonly w: JaxArray };

/** Noise from the key of each step. */
class Keyed extends JaxModule<Params, JaxArray> {
  params: Params = { w: np.zeros([1]) };

  trainingStep({ w }: Params, item: JaxArray, key: JaxArray): StepOutput {
    return np.mean(np.square(w.add(random.normal(key, [1])).sub(item)));
  }
  configureOptimizers(): ScaledOptimizer<Params> {
    const momentum = directions.momentum?.() as ScaledOptimizer<Params>['optimizer'];
    return { optimizer: momentum, learningRate: 0.1 };
  }
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const modules: Readonly<Record<string, () => TrainingModule>> = {
  'weights that its forward pass changes': () => new Buffered(),
  'a random key': () => new Keyed(),
};
const HOOKS = ['onTrainBatchStart', 'onAfterBackward', 'onBeforeOptimizerStep'] as const;

async function fit(
  module: TrainingModule,
  storage: Storage,
  options: { readonly callback?: Callback; readonly ckptPath?: string } = {},
): Promise<unknown> {
  const { callback = {}, ckptPath } = options;
  const exception = { dirpath: '/failed', filename: 'batch', saveOnException: true } as const;
  const trainer = new Trainer({
    maxEpochs: 1,
    accumulateGradBatches: 2,
    storage,
    callbacks: [callback, new ModelCheckpoint({ ...exception, everyNTrainSteps: 1000 })],
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    console: { info: () => {}, warn: () => {} },
  });
  await trainer.fit(module, { trainDataloaders: [1, 2, 3, 4, 5, 6, 7], ckptPath });
  return await stateOf(module);
}

/** Acts once, in the `at`-th call of a hook. */
function once(hook: (typeof HOOKS)[number], at: number, act: (trainer: Trainer) => unknown) {
  let calls = 0;
  const callback: Callback = {
    [hook]: async (trainer: Trainer) => {
      if (++calls === at) await act(trainer);
    },
  };
  return callback;
}

const cases = Object.keys(modules).flatMap((what) => HOOKS.map((hook) => [what, hook] as const));

it.each(cases)('a module with %s is resumed exactly from a save in %s', async (what, hook) => {
  const make = modules[what] as () => TrainingModule;
  for (const at of [1, 2, 3]) {
    const storage = memoryFiles();
    const callback = once(hook, at, (trainer) => trainer.saveCheckpoint('/in-batch.ckpt'));
    const whole = await fit(make(), storage, { callback });
    expect(await fit(make(), storage, { ckptPath: '/in-batch.ckpt' })).toEqual(whole);
  }
});

it.each(cases)('a module with %s is resumed exactly after an error in %s', async (what, hook) => {
  const make = modules[what] as () => TrainingModule;
  const whole = await fit(make(), memoryFiles());
  for (const at of [4, 5]) {
    const storage = memoryFiles();
    const callback = once(hook, at, () => {
      throw new RangeError('out of luck');
    });
    const isOver = await fit(make(), storage, { callback }).then(
      () => true,
      () => false,
    );
    if (isOver) break;
    expect(await fit(make(), storage, { ckptPath: '/failed/batch.ckpt' })).toEqual(whole);
  }
});

it('what is kept of a batch is freed with it, and of trained weights nothing is kept', async () => {
  const kept: number[] = [];
  class Counting extends Buffered {
    #live = 0;
    override retain(handle: unknown): unknown {
      this.#live++;
      return super.retain(handle);
    }
    override release(handle: unknown): void {
      if (handle instanceof tf.Tensor && handle.rank === 0 && handle !== this.loss) this.#live--;
      super.release(handle);
    }
    loss: unknown;
    override onAfterBackward(): void {
      kept.push(this.#live);
    }
    override onTrainBatchEnd({ loss }: { readonly loss: unknown }): void {
      this.loss = loss;
      kept.push(this.#live);
    }
  }
  await fit(new Counting(), memoryFiles());
  // All three weights of the first batch; then the two that the forward pass changes, and pending gradients.
  expect(kept).toEqual([3, 0, 4, 0, 2, 0, 4, 0, 2, 0, 4, 0, 2, 0]);
});
