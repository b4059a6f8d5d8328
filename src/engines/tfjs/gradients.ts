import * as tf from '@tensorflow/tfjs-core';
import type { GradientClipping } from '../engine.ts';
import { alias } from './tensors.ts';

/** A variable without a gradient is not among them: no loss depended on it. */
export type Gradients = ReadonlyMap<tf.Variable, tf.Tensor>;

/**
 * A loss and its gradients. The caller owns all of these tensors, also inside a `tidy`. When `loss`
 * throws, nothing that it made stays behind.
 */
export function lossAndGradients(
  loss: () => tf.Tensor,
  variables: readonly tf.Variable[],
): { loss: tf.Tensor; gradients: Gradients } {
  try {
    const gradients = new Map<tf.Variable, tf.Tensor>();
    const kept = tf.tidy(() => {
      const { value, grads } = tf.variableGrads(loss as () => tf.Scalar, [...variables]);
      for (const variable of variables) {
        const gradient = grads[variable.name];
        // One that is kept already is another variable's too, or the user's: share, do not take it.
        if (gradient != null) {
          gradients.set(variable, gradient.kept ? alias(gradient) : tf.keep(gradient));
        }
      }
      return tf.keep(value);
    });
    return { loss: kept, gradients };
  } catch (error) {
    dropTape();
    throw error;
  }
}

/** tfjs keeps what a forward pass saved for its gradient, and forgets it when that pass throws. */
function dropTape(): void {
  const { state } = tf.engine();
  if (state.gradientDepth > 0) return;
  for (const { saved } of state.activeTape ?? []) tf.dispose(saved ?? []);
  state.activeTape = [];
}

/** Clipped gradients, each a new tensor. Source of both rules: PyTorch 2, `torch.nn.utils`. */
export function clip(gradients: Gradients, clipping: GradientClipping): Gradients {
  const clipped = new Map<tf.Variable, tf.Tensor>();
  tf.tidy(() => {
    const clipOne =
      clipping.algorithm === 'value' ? clampTo(clipping.value) : scaleTo(clipping.value, gradients);
    for (const [variable, gradient] of gradients) clipped.set(variable, tf.keep(clipOne(gradient)));
  });
  return clipped;
}

type ClipOne = (gradient: tf.Tensor) => tf.Tensor;

function clampTo(limit: number): ClipOne {
  return (gradient) => tf.clipByValue(gradient, -limit, limit);
}

/** The norm is over all gradients together, and stays on the device. */
function scaleTo(limit: number, gradients: Gradients): ClipOne {
  const squares = [...gradients.values()].map((gradient) => tf.sum(tf.square(gradient)));
  const norm = tf.sqrt(tf.addN(squares));
  const factor = tf.minimum(tf.div(limit, tf.add(norm, 1e-6)), 1);
  return (gradient) => tf.mul(gradient, factor);
}

/** Gradients summed over the batches of an accumulation window. */
export class PendingGradients {
  #sums: Gradients = new Map();

  get sums(): Gradients {
    return this.#sums;
  }

  /** Takes ownership of the gradients and adds them, times `scale`. One batch alone is not copied. */
  add(gradients: Gradients, scale: number): void {
    const sums = new Map(this.#sums);
    for (const [variable, gradient] of gradients) {
      const sum = sums.get(variable);
      sums.set(variable, addScaled(sum, gradient, scale));
      sum?.dispose();
    }
    this.#sums = sums;
  }

  /** Replaces and frees what is pending; takes ownership of the new gradients. */
  replace(gradients: Gradients): void {
    for (const gradient of this.#sums.values()) gradient.dispose();
    this.#sums = gradients;
  }
}

/** `sum + gradient × scale`, as a new tensor unless it is just the gradient; consumes the gradient. */
function addScaled(sum: tf.Tensor | undefined, gradient: tf.Tensor, scale: number): tf.Tensor {
  if (sum === undefined && scale === 1) return gradient;
  const total = tf.tidy(() => {
    const scaled = scale === 1 ? gradient : tf.mul(gradient, scale);
    return tf.keep(sum === undefined ? scaled : tf.add(sum, scaled));
  });
  gradient.dispose();
  return total;
}
