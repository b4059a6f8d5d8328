import { type Array as JaxArray, numpy as np, tree } from '@jax-js/jax';
import type { JaxOptimizer, PyTree } from 'highwater/jax';
import { scaleByAdam } from '../../examples/digits/adam.ts';

/** Optimizers of optax's shape, without a rate: `{optimizer, learningRate}` scales what they give. */
export const directions: Record<string, () => JaxOptimizer> = {
  sgd: () => ({
    init(params) {
      tree.dispose(params as JaxArray);
      return [];
    },
    update(gradients, state, params) {
      tree.dispose(params as JaxArray);
      return [gradients, state];
    },
  }),
  momentum: () => ({
    init: (params) => ({
      trace: tree.map((param: JaxArray) => np.zerosLike(param), params as JaxArray),
      nothing: {},
    }),
    update(gradients, state, params) {
      tree.dispose(params as JaxArray);
      const { trace, nothing } = state as { trace: JaxArray; nothing: PyTree };
      const move = (past: JaxArray, gradient: JaxArray): JaxArray => past.mul(0.9).add(gradient);
      const moved: PyTree = tree.map(move, trace, gradients as JaxArray);
      return [tree.ref(moved as JaxArray), { trace: moved, nothing }];
    },
  }),
  adam: () => scaleByAdam(),
};
