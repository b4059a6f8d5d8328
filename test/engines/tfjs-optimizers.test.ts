import '@tensorflow/tfjs-layers';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { MisconfigurationError } from '../../src/errors.ts';

class Point extends TfjsModule<number> {
  readonly w: tf.Variable = tf.variable(tf.tensor1d([0.3, -0.7]));

  readonly #make: () => tf.Optimizer;

  constructor(make: () => tf.Optimizer) {
    super();
    this.#make = make;
    this.setupOptimizers();
  }

  trainingStep(target: number): tf.Tensor {
    return tf.sum(tf.square(tf.sub(this.w, target)));
  }

  configureOptimizers(): tf.Optimizer {
    return this.#make();
  }

  train(from: number, to: number): this {
    for (let step = from; step < to; step++) {
      this.release(this.trainStep(Math.sin(step) + 2, step, 1));
      this.optimizerStep(undefined);
    }
    return this;
  }

  async tensors() {
    const entries = [...this.state()].map(async ({ handle, ...entry }) => {
      const bytes = Uint8Array.from(await this.read(this.retain(handle)));
      return { ...entry, bytes };
    });
    return await Promise.all(entries);
  }
}

it.each<[string, () => tf.Optimizer, () => tf.Optimizer]>([
  ['sgd', () => tf.train.sgd(0.01), () => tf.train.sgd(0.5)],
  [
    'momentum and nesterov',
    () => tf.train.momentum(0.01, 0.9, true),
    () => tf.train.momentum(0.5, 0.1),
  ],
  ['adam', () => tf.train.adam(0.01, 0.8, 0.9), () => tf.train.adam(0.5)],
  [
    'rmsprop, centered',
    () => tf.train.rmsprop(0.001, 0.9, 0.1, 1e-12, true),
    () => tf.train.rmsprop(0.5),
  ],
])('restores the hyper-parameters of %s over those configured', async (_, stored, configured) => {
  const uninterrupted = new Point(stored).train(0, 7);
  const resumed = new Point(configured);
  const options = { strict: true, weightsOnly: false };
  resumed.load(await uninterrupted.tensors(), uninterrupted.meta(), options);
  for (const module of [uninterrupted, resumed]) module.train(7, 12);
  const expected = await uninterrupted.tensors();
  expect(await resumed.tensors()).toEqual(expected);
  expect(resumed.meta()).toEqual(uninterrupted.meta());
  expect(new Float32Array(expected[0]!.bytes.buffer).every(Number.isFinite)).toBe(true);
});

it('refuses the state of another kind of optimizer', async () => {
  const adam = new Point(() => tf.train.adam(0.01)).train(0, 2);
  const sgd = new Point(() => tf.train.sgd(0.01));
  const tensors = await adam.tensors();
  const load = (): unknown => sgd.load(tensors, adam.meta(), { strict: true, weightsOnly: false });
  expect(load).toThrow('optimizer: SGD in the module, Adam in the checkpoint');
});

it('keeps an optimizer that the module always gives', () => {
  const adam = tf.train.adam(0.01);
  const module = new Point(() => adam).train(0, 2);
  module.setupOptimizers();
  expect(() => module.train(2, 4)).not.toThrow();
});

it.each([
  [
    undefined,
    'returned undefined, but it must return a tf.Optimizer, such as tf.train.adam(0.001)',
  ],
  [null, 'returned null, but'],
  [0.1, 'returned 0.1, but'],
  [Promise.resolve(), 'returned a Promise, but'],
  [[[], []], 'returned [{…}, {…}], but'],
  [{ optimiser: 1 }, 'returned {optimiser}, but'],
  [
    { optimizer: tf.train.sgd(0.1), lr_scheduler: 1 },
    "has no option 'lr_scheduler' (did you mean 'lrScheduler'?)",
  ],
])('refuses an optimizer that is none: %j', (configured, message) => {
  const make = () => new Point(() => configured as never);
  expect(make).toThrow(MisconfigurationError);
  expect(make).toThrow(`Point.configureOptimizers() ${message}`);
});
