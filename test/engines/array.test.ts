import { describe, it } from 'vitest';
import { engineContract } from '../../src/testing/engine-contract.ts';
import { ArrayModule, type LossAndGradients, type Sgd } from '../support/array-module.ts';

/** `Σ (a·x + b - y)²` of one point for each element. */
class Line extends ArrayModule<number> {
  readonly #sgd: Sgd;

  constructor(sgd: Sgd) {
    super({ a: [0.1, -0.2], b: [0.3, 0.4] });
    this.#sgd = sgd;
  }

  trainingStep(seed: number): LossAndGradients {
    if (Number.isNaN(seed)) throw new RangeError('a broken batch');
    const [a, b] = [this.weight('a'), this.weight('b')];
    const x = [Math.sin(seed), Math.cos(seed)];
    const errors = x.map((value, i) => a[i]! * value + b[i]! - (seed % 3));
    return {
      loss: errors.reduce((sum, error) => sum + error * error, 0),
      gradients: { a: errors.map((error, i) => 2 * error * x[i]!), b: errors.map((e) => 2 * e) },
    };
  }

  override configureOptimizers(): Sgd {
    return this.#sgd;
  }
}

describe.each([
  ['sgd', { learningRate: 0.01 }],
  ['momentum', { learningRate: 0.01, momentum: 0.9 }],
])('with %s', (name, sgd) => {
  const make = () => ({
    open: () => new Line(sgd),
    batch: (step: number) => step,
    brokenBatch: Number.NaN,
  });
  engineContract(`ArrayModule (${name})`, make, { describe, it });
});
