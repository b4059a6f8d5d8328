import * as tf from '@tensorflow/tfjs-core';
import type { JsonObject, JsonValue } from '../../format/json.ts';
import type { LoadPlan } from '../load-plan.ts';
import { assignBytes, formatOf, tensorLike } from './tensors.ts';

/** One slot of an optimizer, such as Adam's first moment of one weight. */
interface Slot {
  originalName: string;
  variable: tf.Variable;
}

/** A tensor of an optimizer's state, under a name that is the same in every process. */
export interface OptimizerTensor {
  /** `<field>` or `<field>/<weight>`, such as `accumulatedFirstMoment/fc1.kernel`. */
  readonly name: string;
  readonly variable: tf.Variable;
}

type Fields = Record<string, unknown>;

/**
 * The tensors of an optimizer: its fields that are variables (running products such as Adam's `accBeta1`)
 * and its lists of slots, which follow the order of the weights. These fields are private in tfjs: tests
 * pin them for every kind. `getWeights` and `setWeights` are not used, since for Adam they recompute the
 * running products and lose their exact values.
 *
 * Source: tfjs-core 4.22, `src/optimizers`.
 */
export function optimizerTensors(
  optimizer: tf.Optimizer,
  weightNames: readonly string[],
): readonly OptimizerTensor[] {
  const found: OptimizerTensor[] = [];
  for (const [field, value] of Object.entries(optimizer as unknown as Fields)) {
    if (value instanceof tf.Variable) found.push({ name: field, variable: value });
    if (!isSlots(value)) continue;
    for (const [index, slot] of value.entries()) {
      if (slot) found.push({ name: `${field}/${weightNames[index]}`, variable: slot.variable });
    }
  }
  return found;
}

/** What an optimizer's state holds beside tensors: its class, and every number and flag it keeps. */
export function optimizerMeta(optimizer: tf.Optimizer): JsonObject {
  const numbers: Record<string, JsonValue> = {};
  const flags: Record<string, JsonValue> = {};
  for (const [field, value] of Object.entries(optimizer as unknown as Fields)) {
    if (typeof value === 'number') numbers[field] = value;
    if (typeof value === 'boolean') flags[field] = value;
  }
  return { className: optimizer.getClassName(), numbers, flags };
}

/** The rate, which every kind keeps under one name. */
export function learningRateOf(optimizer: tf.Optimizer): number | undefined {
  const { learningRate } = optimizer as unknown as Fields;
  return typeof learningRate === 'number' ? learningRate : undefined;
}

export function setLearningRate(optimizer: tf.Optimizer, rate: number): void {
  const fields = optimizer as unknown as Fields;
  fields.learningRate = rate;
  restoreConstants(fields);
}

/** Frees every tensor of an optimizer; momentum's own `dispose` leaves one. */
export function disposeOptimizer(optimizer: tf.Optimizer): void {
  for (const value of Object.values(optimizer as unknown as Fields)) {
    if (value instanceof tf.Tensor) value.dispose();
    if (!isSlots(value)) continue;
    for (const slot of value) slot?.variable.dispose();
  }
}

/** Plans to put a stored state into an optimizer: slots appear, change and disappear as stored. */
export function planOptimizer(
  plan: LoadPlan,
  optimizer: tf.Optimizer,
  meta: JsonObject,
  weights: readonly { readonly name: string; readonly variable: tf.Variable }[],
): void {
  const className = optimizer.getClassName();
  if (meta.className !== className) {
    const stored =
      typeof meta.className === 'string' ? meta.className : JSON.stringify(meta.className);
    plan.refuse(`optimizer: ${className} in the module, ${stored} in the checkpoint`);
    plan.ignore('optimizer');
    return;
  }
  const fields = optimizer as unknown as Fields;
  const stored = new Set(plan.remaining('optimizer'));
  for (const [field, value] of Object.entries(fields)) {
    if (value instanceof tf.Variable) {
      const tensor = plan.take('optimizer', field, formatOf(value));
      if (tensor !== undefined) plan.after(() => assignBytes(value, tensor.bytes));
    }
    if (isSlots(value)) planSlots(plan, fields, field, value, weights, stored);
  }
  plan.after(() => restoreMeta(fields, meta));
}

function restoreMeta(fields: Fields, meta: JsonObject): void {
  // tfjs makes its step count at the first step only.
  fields.iterations_ = undefined;
  const stored = { ...((meta.numbers ?? {}) as JsonObject), ...((meta.flags ?? {}) as JsonObject) };
  for (const [field, value] of Object.entries(stored)) {
    const isKnown = field === 'iterations_' || typeof fields[field] === typeof value;
    if (isKnown && (typeof value === 'number' || typeof value === 'boolean')) fields[field] = value;
  }
  restoreConstants(fields);
}

/** SGD keeps a tensor made of its rate, and momentum one made of its momentum besides. */
function restoreConstants(fields: Fields): void {
  const { setLearningRate, learningRate, m, momentum } = fields;
  if (typeof setLearningRate === 'function') setLearningRate.call(fields, learningRate);
  if (m instanceof tf.Tensor && typeof momentum === 'number') {
    m.dispose();
    fields.m = tf.keep(tf.scalar(momentum));
  }
}

function planSlots(
  plan: LoadPlan,
  fields: Fields,
  field: string,
  slots: readonly (Slot | undefined)[],
  weights: readonly { readonly name: string; readonly variable: tf.Variable }[],
  stored: ReadonlySet<string>,
): void {
  const restored = weights.map(({ name, variable }) => {
    const key = `${field}/${name}`;
    return stored.has(key) ? plan.take('optimizer', key, formatOf(variable)) : undefined;
  });
  plan.after(() => {
    for (const slot of slots) slot?.variable.dispose();
    const made: Slot[] = [];
    for (const [index, tensor] of restored.entries()) {
      const weight = weights[index];
      if (tensor === undefined || weight === undefined) continue;
      const initial = tensorLike(weight.variable, tensor.bytes);
      const variable = tf.variable(initial, false);
      made[index] = { originalName: `${weight.name}/${field}`, variable };
      initial.dispose();
    }
    fields[field] = made;
  });
}

function isSlots(value: unknown): value is (Slot | undefined)[] {
  return Array.isArray(value) && value.every((slot) => slot === undefined || isSlot(slot));
}

function isSlot(value: unknown): value is Slot {
  return typeof value === 'object' && value !== null && 'variable' in value;
}
