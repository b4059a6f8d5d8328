import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
import { describe, expect, it } from 'vitest';
import { JaxModule, type JaxOptimizer, type ScaledOptimizer } from '../../src/engines/jax/index.ts';
import { engineContract } from '../../src/testing/engine-contract.ts';
import { liveJaxBuffers, liveJaxBytes } from '../support/jax-buffers.ts';
import { directions } from '../support/jax-optimizers.ts';

type Params = { fc: { kernel: JaxArray; bias: JaxArray } };
type Batch = { x: JaxArray; y: JaxArray };

class Line extends JaxModule<Params, Batch> {
  override readonly jit: boolean;
  params: Params = {
    fc: {
      kernel: np.array([
        [0.1, -0.2],
        [0.3, 0.4],
      ]),
      bias: np.array([0, 0.5]),
    },
  };
  readonly #make: () => JaxOptimizer;

  constructor(make: () => JaxOptimizer, jit: boolean) {
    super();
    this.#make = make;
    this.jit = jit;
  }

  trainingStep({ fc }: Params, { x, y }: Batch, key: JaxArray): JaxArray {
    const kept = random.bernoulli(key, 0.75, [2]).astype(np.float32);
    const output = np
      .dot(x.reshape([1, 2]), fc.kernel)
      .add(fc.bias)
      .mul(kept.add(0.1));
    return np.mean(np.square(output.sub(y)));
  }

  configureOptimizers(): ScaledOptimizer<Params> {
    return { optimizer: this.#make() as JaxOptimizer<Params>, learningRate: 0.01 };
  }
}

describe.each([
  ['compiled', true],
  ['as they are', false],
])('steps run %s:', (_, jit) => {
  for (const [name, optimizer] of Object.entries(directions)) {
    const make = () => ({
      open: () => new Line(optimizer, jit),
      batch: (step: number) => ({
        x: Float32Array.of(Math.sin(step), Math.cos(step)),
        y: Float32Array.of(step % 3, 1),
      }),
      brokenBatch: { x: Float32Array.of(1, 2, 3), y: Float32Array.of(1, 2) },
      // Uncompiled, what a step made before it threw is nobody's.
      ...(jit ? { liveTensors: liveJaxBuffers, liveBytes: liveJaxBytes } : {}),
    });
    engineContract(`JaxModule with ${name}`, make, { describe, it });
  }
});

it('sees the buffers that jax-js holds, so that a leak would be seen', () => {
  const [buffers, bytes] = [liveJaxBuffers(), liveJaxBytes()];
  const array = random.normal(random.key(1), [100]);
  array.ref.dataSync();
  expect(liveJaxBuffers()).toBeGreaterThan(buffers);
  expect(liveJaxBytes()).toBeGreaterThanOrEqual(bytes + 400);
  array.dispose();
});
