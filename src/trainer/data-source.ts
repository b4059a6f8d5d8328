import type { JsonValue } from '../format/json.ts';
import { refuseOption } from '../option-check.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { Share } from './share.ts';

/**
 * Where batches come from: an array, a {@link DataLoader}, or any other sync or async iterable that can
 * be iterated once per epoch. What else it offers makes more possible:
 *
 * | member | what for |
 * | --- | --- |
 * | `length` | batches per epoch: validation intervals as fractions, progress, an exact resume by skipping |
 * | `setEpoch` | told the epoch (0-based) before each epoch of training, so that shuffling is a function of it |
 * | `stateDict`, `loadStateDict` | its position, read between batches; after a load the next iteration goes on there |
 * | `shard` | one rank's part of each batch: what makes several processes faster than one |
 * | `inOrder` | the same data unshuffled, for `overfitBatches` |
 * | `onSaveCheckpoint`, `onLoadCheckpoint` | whatever else it adds to a checkpoint, and reads back |
 */
export type DataSource<Batch = unknown> = (Iterable<Batch> | AsyncIterable<Batch>) & {
  readonly length?: number;
  setEpoch?(epoch: number): void;
  stateDict?(): JsonValue;
  loadStateDict?(state: JsonValue): void;
  inOrder?(): DataSource<Batch>;
  /**
   * The same batches in the same order, of each only the part of one rank. It has the length and the state of
   * the whole, so that a resume with another number of ranks goes on at the same batch.
   */
  shard?(rank: number, worldSize: number): DataSource<Share<Batch>>;
  onSaveCheckpoint?(checkpoint: Checkpoint): unknown;
  onLoadCheckpoint?(checkpoint: Checkpoint): unknown;
};

/**
 * One source, or several: an array counts as several when every element is an iterable object that is no
 * array itself, such as a DataLoader. An array of anything else is one source, and its elements are the
 * batches, which may be arrays.
 */
export function dataSources(
  given: DataSource | readonly DataSource[] | null | undefined,
): readonly DataSource[] {
  if (given === undefined || given === null) return [];
  const isList = Array.isArray(given) && given.length > 0 && given.every(isLoader);
  return isList ? (given as readonly DataSource[]) : [given as DataSource];
}

function isLoader(value: unknown): value is DataSource {
  return isIterable(value) && !Array.isArray(value) && !ArrayBuffer.isView(value);
}

/** @throws MisconfigurationError for what gives no batches: a number, a promise, a function that is to be called first. */
export function checkSource(owner: string, option: string, given: unknown): void {
  if (isIterable(given)) return;
  refuseOption(owner, option, given, 'an array, a DataLoader or another iterable of batches');
}

function isIterable(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Symbol.iterator in value || Symbol.asyncIterator in value;
}

/** The same data in its own order, if it can be had. */
export function inOrder(source: DataSource): DataSource {
  return source.inOrder?.() ?? source;
}
