// tfjs-layers (like tfjs itself) registers the gradients; tfjs-core alone has none.
import '@tensorflow/tfjs-layers';
import '@tensorflow/tfjs-backend-cpu';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, it } from 'vitest';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { engineContract } from '../../src/testing/engine-contract.ts';
import { optimizers } from '../support/tfjs-optimizers.ts';

const wasm = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
setWasmPaths(`${dirname(wasm)}/`);

function variable(values: number[] | number[][]): tf.Variable {
  return tf.tidy(() => tf.variable(tf.tensor(values)));
}

class Line extends TfjsModule<number> {
  readonly fc = {
    kernel: variable([
      [0.1, -0.2],
      [0.3, 0.4],
    ]),
    bias: variable([0, 0.5]),
  };
  readonly #make: () => tf.Optimizer;

  constructor(make: () => tf.Optimizer) {
    super();
    this.#make = make;
  }

  trainingStep(seed: number): tf.Tensor {
    const x = tf.tensor2d([Math.sin(seed), Math.cos(seed)], [1, 2]);
    const y = tf.add(tf.matMul(x, this.fc.kernel as tf.Tensor2D), this.fc.bias);
    const loss = tf.mean(tf.square(tf.sub(y, tf.tensor2d([seed % 3, 1], [1, 2]))));
    if (Number.isNaN(seed)) throw new RangeError('a broken batch');
    return loss;
  }

  configureOptimizers(): tf.Optimizer {
    return this.#make();
  }
}

describe.each(['cpu', 'wasm'])('on the %s backend', (backend) => {
  beforeAll(async () => {
    await tf.setBackend(backend);
    await tf.ready();
  });
  for (const [name, configure] of Object.entries(optimizers)) {
    const make = () => ({
      open: () => new Line(configure),
      // From 1: sin(0) makes a gradient of 0, for which tfjs's centered rmsprop gives NaN.
      batch: (step: number) => step + 1,
      brokenBatch: Number.NaN,
      liveTensors: () => tf.memory().numTensors,
      liveBytes: () => tf.memory().numBytes,
    });
    engineContract(`TfjsModule with ${name}`, make, { describe, it });
  }
});
