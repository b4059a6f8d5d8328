import { type Array as JaxArray, numpy as np, tree } from '@jax-js/jax';
import { MisconfigurationError } from '../../errors.ts';
import { checkOptionNames, type OptionNames, spell } from '../../option-check.ts';
import type { LRScheduler, LRSchedulerConfig } from '../../schedulers/scheduler.ts';
import type { GradientClipping } from '../engine.ts';
import { free, type PyTree, refs } from './pytree.ts';

/**
 * An optimizer of optax's shape. Both functions consume what they are given, as everything in jax-js does,
 * and run under `jit`.
 *
 * Source: optax, `GradientTransformation`.
 */
export interface JaxOptimizer<Params extends PyTree = PyTree, State extends PyTree = PyTree> {
  /** The state before the first step; its structure never changes. */
  init(params: Params): State;
  /** What to add to the parameters, and the next state. */
  update(gradients: Params, state: State, params: Params): [updates: Params, state: State];
}

/** An optimizer of which Highwater applies the learning rate: parameters − rate × updates. */
export interface ScaledOptimizer<Params extends PyTree = PyTree> {
  /** Gives directions, not yet scaled by a rate nor negated: `optax.scaleByAdam()` rather than `adam`. */
  readonly optimizer: JaxOptimizer<Params>;
  /** Passed into the compiled step as a value, so that changing it compiles nothing again. */
  readonly learningRate: number;
  /** How the rate changes while training goes on. */
  readonly lrScheduler?: LRScheduler | LRSchedulerConfig;
}

const SCALED_NAMES: OptionNames<ScaledOptimizer> = {
  optimizer: true,
  learningRate: true,
  lrScheduler: true,
};

/** @throws MisconfigurationError when it is neither kind of optimizer. */
export function asConfigured<Params extends PyTree>(
  moduleName: string,
  given: JaxOptimizer<Params> | ScaledOptimizer<Params>,
): { optimizer: JaxOptimizer<Params>; learningRate: number | undefined } {
  const owner = `${moduleName}.configureOptimizers()`;
  const isScaled = typeof given === 'object' && given !== null && 'optimizer' in given;
  const { optimizer, learningRate } = isScaled
    ? given
    : { optimizer: given, learningRate: undefined };
  if (typeof optimizer?.init !== 'function' || typeof optimizer.update !== 'function') {
    throw new MisconfigurationError(
      `${owner} returned ${spell(given)}, but it must return an optimizer with init(params) and ` +
        `update(gradients, state, params), or {optimizer, learningRate, lrScheduler}. It must not be async.`,
      { details: { configured: given } },
    );
  }
  if (isScaled) checkOptionNames<ScaledOptimizer<Params>>(owner, given, SCALED_NAMES);
  if (learningRate !== undefined && !Number.isFinite(learningRate)) {
    throw new MisconfigurationError(
      `${owner}: learningRate is ${learningRate}, but it must be a finite number.`,
      { details: { learningRate } },
    );
  }
  return { optimizer, learningRate };
}

/** One optimizer step; everything given is consumed. Without a `rate` the updates are added as they are. */
export function applyUpdates<Params extends PyTree>(
  optimizer: JaxOptimizer<Params>,
  gradients: Params,
  state: PyTree,
  params: Params,
  rate: JaxArray | undefined,
): { params: Params; state: PyTree } {
  const [updates, next] = optimizer.update(gradients, state, refs(params));
  const updated = mapTree(params, updates, (param, update) =>
    rate === undefined ? param.add(update) : param.sub(update.mul(rate.ref)),
  );
  rate?.dispose();
  return { params: updated, state: next };
}

/** Each leaf times a scalar; everything given is consumed. */
export function scaled<Params extends PyTree>(gradients: Params, scale: JaxArray): Params {
  const product = mapTree(gradients, gradients, (gradient) => gradient.mul(scale.ref));
  scale.dispose();
  return product;
}

/** Leaf by leaf; everything given is consumed. */
export function added<Params extends PyTree>(first: Params, second: Params): Params {
  return mapTree(first, second, (sum, more) => sum.add(more));
}

/** Clipped gradients; the given ones are consumed. Source of both rules: PyTorch 2, `torch.nn.utils`. */
export function clip<Params extends PyTree>(
  gradients: Params,
  { algorithm, value: limit }: GradientClipping,
): Params {
  if (algorithm === 'value') {
    return mapTree(gradients, gradients, (gradient) => np.clip(gradient, -limit, limit));
  }
  const squares = tree.leaves(refs(gradients) as JaxArray).map((each) => np.sum(np.square(each)));
  const norm = np.sqrt(squares.reduce((sum, square) => sum.add(square)));
  const factor = np.minimum(np.array(limit).div(norm.add(1e-6)), 1);
  const clipped = mapTree(gradients, gradients, (gradient) => gradient.mul(factor.ref));
  free(factor);
  return clipped;
}

function mapTree<Tree extends PyTree>(
  first: Tree,
  second: Tree,
  map: (first: JaxArray, second: JaxArray) => JaxArray,
): Tree {
  return tree.map(map as never, first as never, second as never) as Tree;
}
