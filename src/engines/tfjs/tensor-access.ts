import * as tf from '@tensorflow/tfjs-core';
import type { EngineTensors, StateEntry } from '../engine.ts';
import type { LoadPlan, TensorPlace } from '../load-plan.ts';
import type { NamedWeight } from './named-weights.ts';
import { alias, assignBytes, bytesOf, formatOf, viewOf } from './tensors.ts';

/** What every engine on tfjs does with its tensors. */
export class TensorAccess implements EngineTensors {
  isTensor(value: unknown): boolean {
    return value instanceof tf.Tensor;
  }
  describe(handle: unknown): TensorPlace {
    return formatOf(handle as tf.Tensor);
  }
  retain(handle: unknown): unknown {
    return alias(handle as tf.Tensor);
  }
  isUnchanged(handle: unknown, retained: unknown): boolean {
    // What is assigned to a variable brings data of its own.
    return (handle as tf.Tensor).dataId === (retained as tf.Tensor).dataId;
  }
  release(handle: unknown): void {
    if (handle instanceof tf.Tensor) handle.dispose();
  }
  async read(handle: unknown): Promise<Uint8Array> {
    return await bytesOf(handle as tf.Tensor);
  }
  view(handle: unknown): Uint8Array | undefined {
    return viewOf(handle as tf.Tensor);
  }
  readScalar(handle: unknown): number {
    if (typeof handle === 'number') return handle;
    return (handle as tf.Tensor).dataSync()[0] ?? Number.NaN;
  }
}

/** For a module, which extends another class. */
export const tensorAccess: EngineTensors = new TensorAccess();

/** Plans to give weights what is stored under their names. */
export function planWeights(plan: LoadPlan, weights: readonly NamedWeight[]): void {
  for (const { name, variable } of weights) {
    const tensor = plan.take('model', name, formatOf(variable));
    if (tensor !== undefined) plan.after(() => assignBytes(variable, tensor.bytes));
  }
}

/** A tensor as an entry of a state. */
export function stateEntry(
  group: StateEntry['group'],
  name: string,
  handle: tf.Tensor,
): StateEntry {
  return { group, name, ...formatOf(handle), handle };
}
