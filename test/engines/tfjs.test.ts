// tfjs-layers (like tfjs itself) registers the gradients; tfjs-core alone has none.
import '@tensorflow/tfjs-layers';
import '@tensorflow/tfjs-backend-cpu';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LoadedTensor } from '../../src/engines/engine.ts';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { CheckpointMismatchError } from '../../src/errors.ts';

const wasm = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
setWasmPaths(`${dirname(wasm)}/`);

class Line extends TfjsModule<number> {
  readonly fc = {
    kernel: tf.variable(tf.tensor2d([0.1, -0.2, 0.3, 0.4], [2, 2])),
    bias: tf.variable(tf.tensor1d([0, 0.5])),
  };
  readonly #make: () => tf.Optimizer;

  constructor(make: () => tf.Optimizer) {
    super();
    this.#make = make;
  }

  trainingStep(seed: number): tf.Tensor {
    const x = tf.tensor2d([Math.sin(seed), Math.cos(seed)], [1, 2]);
    const y = tf.add(tf.matMul(x, this.fc.kernel as tf.Tensor2D), this.fc.bias);
    return tf.mean(tf.square(tf.sub(y, tf.tensor2d([seed % 3, 1], [1, 2]))));
  }

  configureOptimizers(): tf.Optimizer {
    return this.#make();
  }
}

const optimizers: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.01),
  momentum: () => tf.train.momentum(0.01, 0.9),
  adam: () => tf.train.adam(0.01),
  adamax: () => tf.train.adamax(0.01),
  adagrad: () => tf.train.adagrad(0.01),
  adadelta: () => tf.train.adadelta(0.01),
  rmsprop: () => tf.train.rmsprop(0.01),
  'centered rmsprop': () => tf.train.rmsprop(0.01, 0.9, 0.1, 1e-7, true),
};

const opened: Line[] = [];
function open(make: () => tf.Optimizer): Line {
  const module = new Line(make);
  module.setupOptimizers();
  opened.push(module);
  return module;
}

function train(module: Line, from: number, to: number): void {
  for (let step = from; step < to; step++) {
    module.release(module.trainStep(step, step, 1));
    module.optimizerStep(undefined);
  }
}

/** Retained now, read later: what a snapshot does. */
function snapshot(module: Line): () => Promise<LoadedTensor[]> {
  const held = [...module.state()].map((entry) => ({
    ...entry,
    owned: module.retain(entry.handle),
  }));
  return async () => {
    const tensors: LoadedTensor[] = [];
    for (const { group, name, dtype, shape, owned } of held) {
      const bytes = Uint8Array.from(await module.read(owned));
      tensors.push({ group, name, dtype, shape, bytes });
      module.release(owned);
    }
    return tensors;
  };
}

describe.each(['cpu', 'wasm'])('on the %s backend', (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    await tf.ready();
  });
  afterEach(() => {
    for (const module of opened.splice(0)) module.dispose();
  });

  it.each(Object.entries(optimizers))(
    'restores %s exactly: captured at step 57, read later, equal at step 67',
    async (_, make) => {
      const uninterrupted = open(make);
      train(uninterrupted, 0, 57);
      const meta = uninterrupted.meta();
      const read = snapshot(uninterrupted);
      train(uninterrupted, 57, 67);
      const resumed = open(make);
      resumed.load(await read(), meta, { strict: true, weightsOnly: false });
      train(resumed, 57, 67);
      expect(await snapshot(resumed)()).toEqual(await snapshot(uninterrupted)());
      expect(resumed.meta()).toEqual(uninterrupted.meta());
    },
  );

  it('restores gradients that are not applied yet', async () => {
    const make = optimizers.adam as () => tf.Optimizer;
    const uninterrupted = open(make);
    train(uninterrupted, 0, 3);
    uninterrupted.release(uninterrupted.trainStep(3, 3, 0.5));
    const resumed = open(make);
    const tensors = await snapshot(uninterrupted)();
    expect(tensors.filter(({ group }) => group === 'gradient')).toHaveLength(2);
    resumed.load(tensors, uninterrupted.meta(), { strict: true, weightsOnly: false });
    for (const module of [uninterrupted, resumed]) {
      module.release(module.trainStep(4, 4, 0.5));
      module.optimizerStep({ value: 0.1, algorithm: 'norm' });
    }
    expect(await snapshot(resumed)()).toEqual(await snapshot(uninterrupted)());
  });

  it('refuses a file that does not fit as a whole, listing every difference', async () => {
    const module = open(() => tf.train.sgd(0.1));
    const before = await snapshot(module)();
    const kernel = { ...(before[0] as LoadedTensor), bytes: new Uint8Array(16) };
    const wrong = [kernel, { ...kernel, name: 'other' }];
    const load = (): unknown =>
      module.load(wrong, module.meta(), { strict: true, weightsOnly: false });
    expect(load).toThrow(CheckpointMismatchError);
    expect(load).toThrow(/fc\.bias: missing[\s\S]*other: not in the module/);
    expect(await snapshot(module)()).toEqual(before);
  });

  it('keeps no tensor over 200 saves', async () => {
    const module = open(optimizers.adam as () => tf.Optimizer);
    train(module, 0, 2);
    await snapshot(module)();
    const { numTensors } = tf.memory();
    for (let save = 0; save < 200; save++) {
      const read = snapshot(module);
      train(module, save, save + 1);
      await read();
    }
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});
