import { type Array as JaxArray, numpy as np, tree } from '@jax-js/jax';
import type { JaxOptimizer, PyTree } from '../../src/engines/jax/index.ts';

const mapTree = (map: (...leaves: JaxArray[]) => JaxArray, ...trees: PyTree[]): PyTree =>
  tree.map(map as never, ...(trees as [never, ...never[]])) as PyTree;
const zeros = (params: PyTree): PyTree => mapTree((param) => np.zerosLike(param), params);

/** Optimizers of optax's shape, without a rate: `{optimizer, learningRate}` scales what they give. */
export const directions: Record<string, () => JaxOptimizer> = {
  sgd: () => ({
    init: (params) => {
      tree.dispose(params);
      return [];
    },
    update: (gradients, state, params) => {
      tree.dispose(params);
      return [gradients, state];
    },
  }),
  momentum: () => ({
    init: (params) => ({ trace: zeros(params) }),
    update: (gradients, state, params) => {
      tree.dispose(params);
      const { trace } = state as { trace: PyTree };
      const moved = mapTree((gradient, past) => past.mul(0.9).add(gradient), gradients, trace);
      return [tree.ref(moved as never), { trace: moved }];
    },
  }),
  adam: () => ({
    init: (params) => [
      {
        count: np.zeros([], { dtype: np.int32 }),
        mu: zeros(tree.ref(params as never)),
        nu: zeros(params),
      },
      {},
    ],
    update: (gradients, state, params) => {
      tree.dispose(params);
      const [{ count, mu, nu }, rest] = state as unknown as [
        { count: JaxArray; mu: PyTree; nu: PyTree },
        PyTree,
      ];
      const steps = count.add(1);
      const time = steps.ref.astype(np.float32);
      const means = mapTree(
        (m, g) => m.mul(0.9).add(g.mul(0.1)),
        mu,
        tree.ref(gradients as never) as PyTree,
      );
      const squares = mapTree((v, g) => v.mul(0.999).add(np.square(g).mul(0.001)), nu, gradients);
      const correct = (decay: number) => np.array(1).sub(np.power(decay, time.ref));
      const [first, second] = [correct(0.9), correct(0.999)];
      const updates = mapTree(
        (m, v) => m.div(first.ref).div(np.sqrt(v.div(second.ref)).add(1e-8)),
        tree.ref(means as never) as PyTree,
        tree.ref(squares as never) as PyTree,
      );
      tree.dispose([time, first, second]);
      return [updates, [{ count: steps, mu: means, nu: squares }, rest]];
    },
  }),
};
