import { HighwaterError } from '../errors.ts';
import type { StoredTensor, TensorGroup } from '../format/checkpoint-file.ts';
import { bytesPerElement } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';
import { numbersOf } from '../format/numbers.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { STORAGE_NAMES, type StorageOptions } from '../place.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { openAt } from './open.ts';
import {
  countIn,
  metricsIn,
  nameAt,
  namesIn,
  objectOf,
  type Score,
  type StoredMetric,
  type StoredName,
  scoreIn,
} from './stored-document.ts';
import { infoOf, spelledName, type TensorInfo } from './tensor-info.ts';
import {
  type Histogram,
  HistogramSum,
  StatisticsSum,
  type TensorStatistics,
} from './tensor-statistics.ts';

/** How much of a checkpoint one kind of tensor takes. */
export interface GroupTotal {
  readonly group: TensorGroup;
  readonly tensors: number;
  readonly elements: number;
  readonly sizeBytes: number;
}

/** What a checkpoint holds, by its header. */
export interface Inspection {
  /** As its storage takes it. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly state: 'whole' | 'weights only' | 'foreign';
  /** Null for a file that Highwater did not write; so are all that the document would say. */
  readonly formatVersion: number | null;
  /** The version of Highwater that wrote it. */
  readonly version: string | null;
  readonly engine: string | null;
  readonly epoch: number | null;
  readonly globalStep: number | null;
  readonly score: Score | null;
  /** The names it was saved under, all of one content. */
  readonly names: readonly StoredName[];
  /** As they were when it was saved. */
  readonly metrics: readonly StoredMetric[];
  readonly hyperParameters: JsonObject;
  /** The state of each callback, by its key. */
  readonly callbacks: JsonObject;
  /** Everything beside tensors, the above included. */
  readonly document: JsonObject | null;
  /** Weights first, then by group; in the order of their data. */
  readonly tensors: readonly TensorInfo[];
  /** In the order of {@link tensors}; only groups that are there. */
  readonly totals: readonly GroupTotal[];
}

const GROUPS: readonly TensorGroup[] = ['model', 'optimizer', 'gradient', 'rng', 'extra'];

/**
 * What a checkpoint, or another safetensors file, holds. Reads and checks the header only, however large the
 * file is.
 *
 * @param path a path or a `file:` URL.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_VERSION`) saying which byte is
 * wrong; HighwaterError (`CHECKPOINT_NOT_FOUND`); StorageError.
 */
export async function inspect(
  path: string | URL,
  options: StorageOptions = {},
): Promise<Inspection> {
  checkOptionNames('inspect', options, STORAGE_NAMES);
  const reader = await openAt(path, options);
  const { document = null, formatVersion = null } = reader.index;
  const known = document ?? {};
  const tensors = GROUPS.flatMap((group) =>
    reader.index.tensors.filter((tensor) => tensor.group === group).map(infoOf),
  );
  return {
    path: reader.path,
    sizeBytes: reader.sizeBytes,
    state: document === null ? 'foreign' : reader.isResumable ? 'whole' : 'weights only',
    formatVersion,
    version: textIn(known, 'version'),
    engine: textIn(objectOf(known.engine) ?? {}, 'name'),
    epoch: countIn(known, 'epoch') ?? null,
    globalStep: countIn(known, 'globalStep') ?? null,
    score: scoreIn(known, nameAt(namesIn(known), reader.path)) ?? null,
    names: namesIn(known),
    metrics: metricsIn(known),
    hyperParameters: objectOf(known.hyperParameters) ?? {},
    callbacks: objectOf(known.callbacks) ?? {},
    document,
    tensors,
    totals: GROUPS.flatMap((group) => totalOf(group, tensors)),
  };
}

/** One tensor, looked at closely. */
export interface TensorInspection extends TensorInfo {
  readonly statistics: TensorStatistics;
  /** Of the finite elements; null when there is none. */
  readonly histogram: Histogram | null;
}

/** How a tensor is looked at. */
export interface InspectTensorOptions extends StorageOptions {
  /** In how many parts of equal width the histogram counts; default 16. */
  readonly parts?: number;
}

const TENSOR_NAMES: OptionNames<InspectTensorOptions> = {
  ...STORAGE_NAMES,
  parts: true,
};

/**
 * Statistics of one tensor. Reads its bytes twice, a few MiB at a time, and verifies them.
 *
 * @param name a weight's name, or `group/name` as `optimizer/accBeta1`.
 * @throws HighwaterError (`TENSOR_NOT_FOUND`) naming those that are there; what {@link inspect} throws;
 * CheckpointFileError when the bytes do not match their checksum.
 */
export async function inspectTensor(
  path: string | URL,
  name: string,
  options: InspectTensorOptions = {},
): Promise<TensorInspection> {
  checkOptionNames('inspectTensor', options, TENSOR_NAMES);
  const reader = await openAt(path, options);
  const tensor = tensorNamed(reader, name);
  const statistics = new StatisticsSum();
  for await (const part of reader.parts(tensor)) statistics.add(numbersOf(tensor.dtype, part));
  const { min, max } = statistics.result;
  let histogram: Histogram | null = null;
  if (!Number.isNaN(min)) {
    const sum = new HistogramSum(min, max, options.parts ?? 16);
    for await (const part of reader.parts(tensor)) sum.add(numbersOf(tensor.dtype, part));
    histogram = sum.result;
  }
  return { ...infoOf(tensor), statistics: statistics.result, histogram };
}

function tensorNamed(reader: CheckpointReader, name: string): StoredTensor {
  const { tensors } = reader.index;
  const found =
    tensors.find((tensor) => tensor.group === 'model' && tensor.name === name) ??
    tensors.find((tensor) => spelledName(tensor) === name);
  if (found !== undefined) return found;
  const names = tensors.map((tensor) => `'${spelledName(tensor)}'`);
  const more = names.length > 20 ? ` and ${names.length - 20} more` : '';
  throw new HighwaterError(
    'TENSOR_NOT_FOUND',
    `'${reader.path}' has no tensor '${name}'. It has ${names.slice(0, 20).join(', ') || 'none'}${more}.`,
    { details: { path: reader.path, name } },
  );
}

function totalOf(group: TensorGroup, all: readonly TensorInfo[]): GroupTotal | [] {
  const tensors = all.filter((tensor) => tensor.group === group);
  if (tensors.length === 0) return [];
  return {
    group,
    tensors: tensors.length,
    elements: tensors.reduce(
      (sum, { dtype, sizeBytes }) => sum + sizeBytes / bytesPerElement(dtype),
      0,
    ),
    sizeBytes: tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

function textIn(document: JsonObject, key: string): string | null {
  const value = document[key];
  return typeof value === 'string' ? value : null;
}
