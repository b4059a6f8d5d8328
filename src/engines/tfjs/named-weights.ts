import * as tf from '@tensorflow/tfjs-core';
import { MisconfigurationError } from '../../errors.ts';
import { isLayer, isLayerWeight, type Layer, layerWeights } from './layers.ts';
import { dtypeOf } from './tensors.ts';

/** A variable of a module, under the name that it has in every process. */
export interface NamedWeight {
  readonly name: string;
  readonly variable: tf.Variable;
  /** The outermost layer or model it was found in: it may be frozen as a whole. */
  readonly layer: Layer | undefined;
}

/**
 * The weights of a module: every variable that its own properties lead to, through arrays, objects,
 * maps, layers and models, named by the way there. One that is reached twice has the name of the first way.
 *
 * @throws MisconfigurationError for a weight of strings or complex numbers, and for two of one name.
 */
export function namedWeights(module: object): readonly NamedWeight[] {
  const found = new Map<tf.Variable, NamedWeight>();
  const add = (name: string, variable: tf.Variable, layer?: Layer): void => {
    if (found.has(variable) || variable.isDisposed) return;
    dtypeOf(variable, `The weight '${name}'`);
    found.set(variable, { name, variable, layer });
  };
  const seen = new Set<object>();
  const visit = (value: unknown, name: string): void => {
    if (typeof value !== 'object' || value === null || seen.has(value)) return;
    seen.add(value);
    if (value instanceof tf.Variable) add(name, value);
    else if (isLayerWeight(value)) add(name, value.val);
    else if (isLayer(value)) {
      for (const [path, variable] of layerWeights(value, name)) add(path, variable, value);
    } else {
      for (const [key, child] of members(value)) visit(child, name === '' ? key : `${name}.${key}`);
    }
  };
  visit(module, '');
  refuseDuplicates(found.values());
  return [...found.values()];
}

/** Those that training changes now: of floats, and frozen neither themselves nor with their layer. */
export function trainableVariables(weights: readonly NamedWeight[]): tf.Variable[] {
  const ofLayers = new Map<Layer, ReadonlySet<tf.Variable>>();
  const isFrozen = (layer: Layer, variable: tf.Variable): boolean => {
    let trainable = ofLayers.get(layer);
    if (trainable === undefined) {
      trainable = new Set(layer.trainableWeights.map(({ val }) => val));
      ofLayers.set(layer, trainable);
    }
    return !trainable.has(variable);
  };
  return weights
    .filter(({ variable, layer }) => {
      if (!variable.trainable || variable.dtype !== 'float32') return false;
      return layer === undefined || !isFrozen(layer, variable);
    })
    .map(({ variable }) => variable);
}

/** The values of an object's own fields. Getters are not called, and arrays of numbers not walked. */
function members(value: object): [string, unknown][] {
  if (value instanceof tf.Tensor || value instanceof tf.Optimizer || ArrayBuffer.isView(value)) {
    return [];
  }
  if (value instanceof Map) return [...value].map(([key, item]) => [String(key), item]);
  if (Array.isArray(value)) {
    return typeof value[0] === 'number' ? [] : value.map((item, index) => [String(index), item]);
  }
  return Object.entries(Object.getOwnPropertyDescriptors(value))
    .filter(([, property]) => property.enumerable)
    .map(([key, property]) => [key, property.value]);
}

function refuseDuplicates(weights: Iterable<NamedWeight>): void {
  const names = new Set<string>();
  for (const { name } of weights) {
    if (names.has(name)) {
      throw new MisconfigurationError(
        `Two weights are named '${name}': give their layers or properties different names.`,
        { details: { name } },
      );
    }
    names.add(name);
  }
}
