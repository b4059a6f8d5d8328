import * as tf from '@tensorflow/tfjs-core';
import type { EngineTensors, StateEntry } from '../engine.ts';
import { alias, bytesOf, formatOf } from './tensors.ts';

/** What every engine on tfjs does with its tensors. */
export const tensorAccess: EngineTensors = {
  isTensor: (value) => value instanceof tf.Tensor,
  describe: (handle) => formatOf(handle as tf.Tensor),
  retain: (handle) => alias(handle as tf.Tensor),
  release: (handle) => {
    if (handle instanceof tf.Tensor) handle.dispose();
  },
  read: (handle) => bytesOf(handle as tf.Tensor),
  readScalar: (handle) =>
    typeof handle === 'number' ? handle : ((handle as tf.Tensor).dataSync()[0] ?? Number.NaN),
};

/** A tensor as an entry of a state. */
export function stateEntry(
  group: StateEntry['group'],
  name: string,
  handle: tf.Tensor,
): StateEntry {
  return { group, name, ...formatOf(handle), handle };
}
