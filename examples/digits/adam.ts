import { type Array as JaxArray, numpy as np, tree } from '@jax-js/jax';
import type { JaxOptimizer, PyTree } from 'highwater/jax';

type AdamState = { count: JaxArray; mu: PyTree; nu: PyTree };

/**
 * Adam's directions in optax's shape, without a learning rate: give it to `configureOptimizers` as
 * `{ optimizer: scaleByAdam(), learningRate }`.
 *
 * Source: Kingma and Ba (2015), algorithm 1; the defaults are optax's.
 */
export function scaleByAdam(b1 = 0.9, b2 = 0.999, eps = 1e-8): JaxOptimizer {
  return {
    init: (params) => ({
      count: np.zeros([], { dtype: np.int32 }),
      mu: map((param) => np.zerosLike(param), refs(params)),
      nu: map((param) => np.zerosLike(param), params),
    }),
    update(gradients, state, params) {
      tree.dispose(params as JaxArray);
      const { count, mu, nu } = state as AdamState;
      const steps = count.add(1);
      const means = map((m, g) => m.mul(b1).add(g.mul(1 - b1)), mu, refs(gradients));
      const squares = map((v, g) => v.mul(b2).add(np.square(g).mul(1 - b2)), nu, gradients);
      const time = steps.ref.astype(np.float32);
      const bias1 = np.array(1).sub(np.power(b1, time.ref));
      const bias2 = np.array(1).sub(np.power(b2, time));
      const updates = map(
        (m, v) => m.div(bias1.ref).div(np.sqrt(v.div(bias2.ref)).add(eps)),
        refs(means),
        refs(squares),
      );
      tree.dispose([bias1, bias2]);
      return [updates, { count: steps, mu: means, nu: squares }];
    },
  };
}

function refs(root: PyTree): PyTree {
  return tree.ref(root as JaxArray);
}

function map(each: (...leaves: JaxArray[]) => JaxArray, ...trees: [PyTree, ...PyTree[]]): PyTree {
  return tree.map(each, ...(trees as [JaxArray, ...JaxArray[]])) as PyTree;
}
