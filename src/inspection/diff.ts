import { MisconfigurationError } from '../errors.ts';
import type { StoredTensor, TensorGroup } from '../format/checkpoint-file.ts';
import type { DType } from '../format/dtype.ts';
import { encodeJson, type JsonObject, type JsonValue, TensorRef } from '../format/json.ts';
import { numbersOf } from '../format/numbers.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { STORAGE_NAMES, type StorageOptions } from '../place.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { documentLeaves } from './document-leaves.ts';
import { openAt } from './open.ts';
import { metricsIn } from './stored-document.ts';
import { DifferenceSum, type TensorDifference } from './tensor-difference.ts';
import { spelledName } from './tensor-info.ts';

/** A value beside the tensors that is not the same. */
export interface MetadataChange {
  /** Dotted: `hyperParameters.lr`. */
  readonly name: string;
  readonly change: 'added' | 'removed' | 'changed';
  /** Null when it was added. */
  readonly before: JsonValue;
  /** Null when it was removed. */
  readonly after: JsonValue;
}

/** What a tensor is made of. */
export interface TensorForm {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A tensor that is not the same. */
export interface TensorChange {
  readonly group: TensorGroup;
  readonly name: string;
  /** `reshaped`: of another shape or dtype, and not compared further. */
  readonly change: 'added' | 'removed' | 'reshaped' | 'changed';
  readonly before: TensorForm | null;
  readonly after: TensorForm | null;
  /** By how much; null unless `changed`. */
  readonly difference: TensorDifference | null;
}

/** What is compared. */
export interface DiffOptions extends StorageOptions {
  /** Only the weights: neither metadata nor the state of the optimizer and others. Default false. */
  readonly weightsOnly?: boolean;
}

const NAMES: OptionNames<DiffOptions> = {
  ...STORAGE_NAMES,
  weightsOnly: true,
};

/** What is not the same in two checkpoints. */
export interface Difference {
  readonly isSame: boolean;
  readonly metadata: readonly MetadataChange[];
  /** Weights first; of them, and of the others, the most changed by relative norm, then reshaped, added, removed. */
  readonly tensors: readonly TensorChange[];
  /** How many tensors are the same. */
  readonly sameTensors: number;
}

/**
 * Compares two checkpoints, or other safetensors files: what is beside the tensors, but not the names they
 * were saved under, and every tensor. Tensors of one checksum are taken to be the same, unread; of the others
 * a few MiB are in memory at a time, and they are verified.
 *
 * @throws what `inspect` throws for either file; CheckpointFileError for a tensor that is damaged.
 */
export async function diff(
  before: string | URL,
  after: string | URL,
  options: DiffOptions = {},
): Promise<Difference> {
  checkOptionNames('diff', options, NAMES);
  const [a, b] = await Promise.all([openAt(before, options), openAt(after, options)]);
  const { weightsOnly = false } = options;
  const metadata = weightsOnly ? [] : metadataChanges(a.document, b.document);
  const tensorsOf = ({ index }: CheckpointReader): readonly StoredTensor[] =>
    index.tensors.filter(({ group }) => !weightsOnly || group === 'model');
  const tensors: TensorChange[] = [];
  const left = new Map(tensorsOf(a).map((tensor) => [spelledName(tensor), tensor]));
  let sameTensors = 0;
  for (const tensor of tensorsOf(b)) {
    const was = left.get(spelledName(tensor));
    left.delete(spelledName(tensor));
    const change = await tensorChange(a, was, b, tensor);
    if (change === undefined) sameTensors++;
    else tensors.push(change);
  }
  for (const tensor of left.values()) tensors.push(changeOf('removed', tensor, undefined));
  tensors.sort(mostChangedFirst);
  return { isSame: metadata.length + tensors.length === 0, metadata, tensors, sameTensors };
}

async function tensorChange(
  a: CheckpointReader,
  was: StoredTensor | undefined,
  b: CheckpointReader,
  is: StoredTensor,
): Promise<TensorChange | undefined> {
  if (was === undefined) return changeOf('added', undefined, is);
  if (was.dtype !== is.dtype || was.shape.join() !== is.shape.join()) {
    return changeOf('reshaped', was, is);
  }
  if (was.checksum !== undefined && was.checksum === is.checksum) return undefined;
  const sum = new DifferenceSum();
  let areBytesSame = true;
  const others = b.parts(is);
  for await (const part of a.parts(was)) {
    const { value: other } = await others.next();
    if (other === undefined) throw new MisconfigurationError(`'${b.path}' has changed meanwhile.`);
    areBytesSame &&= part.every((byte, i) => byte === other[i]);
    sum.add(numbersOf(was.dtype, part), numbersOf(is.dtype, other));
  }
  // Reads to the end, where the checksum is compared.
  await others.next();
  return areBytesSame ? undefined : { ...changeOf('changed', was, is), difference: sum.result };
}

function changeOf(
  change: TensorChange['change'],
  before: StoredTensor | undefined,
  after: StoredTensor | undefined,
): TensorChange {
  const { group, name } = (after ?? before) as StoredTensor;
  return {
    group,
    name,
    change,
    before: formOf(before),
    after: formOf(after),
    difference: null,
  };
}

function formOf(tensor: StoredTensor | undefined): TensorForm | null {
  return tensor === undefined ? null : { dtype: tensor.dtype, shape: tensor.shape };
}

const ORDER: readonly TensorChange['change'][] = ['changed', 'reshaped', 'added', 'removed'];

function mostChangedFirst(a: TensorChange, b: TensorChange): number {
  return (
    Number(b.group === 'model') - Number(a.group === 'model') ||
    ORDER.indexOf(a.change) - ORDER.indexOf(b.change) ||
    Number((b.difference?.incomparableCount ?? 0) > 0) -
      Number((a.difference?.incomparableCount ?? 0) > 0) ||
    compareNumbers(b.difference?.relativeNorm ?? 0, a.difference?.relativeNorm ?? 0) ||
    (spelledName(a) < spelledName(b) ? -1 : 1)
  );
}

/** Infinities are equal to themselves. */
function compareNumbers(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function metadataChanges(
  before: JsonObject | undefined,
  after: JsonObject | undefined,
): readonly MetadataChange[] {
  const left = leavesIn(before);
  const right = leavesIn(after);
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].flatMap((name): MetadataChange | [] => {
    const [was, is] = [left.get(name), right.get(name)];
    if (was === undefined) return { name, change: 'added', before: null, after: is ?? null };
    if (is === undefined) return { name, change: 'removed', before: was, after: null };
    return textOf(was) === textOf(is) ? [] : { name, change: 'changed', before: was, after: is };
  });
}

/** Without the names of its save, which say where a checkpoint lies rather than what it is. */
function leavesIn(document: JsonObject | undefined): ReadonlyMap<string, JsonValue> {
  const { save: _, metrics: __, ...rest } = document ?? {};
  const metrics = metricsIn(document ?? {}).map(({ name, value }): readonly [string, JsonValue] => [
    `metrics.${name}`,
    value,
  ]);
  return new Map([...documentLeaves(rest), ...metrics]);
}

function textOf(value: JsonValue): string {
  return encodeJson(value, new Set(tensorsIn(value)));
}

function tensorsIn(value: JsonValue): readonly string[] {
  if (value instanceof TensorRef) return [value.name];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap((inner: JsonValue | undefined) => tensorsIn(inner ?? null));
}
