import type { DataSource } from './data-source.ts';

/** One rank's part of a batch: what the parts of a {@link DataSource.shard} are made of. */
export class Share<Batch = unknown> {
  /** Never empty: a rank for which nothing is left gets the first item of the batch, at weight 0. */
  readonly batch: Batch;
  /** Its items ÷ those of the whole batch, from 0 to 1. All ranks' weights add up to 1. */
  readonly weight: number;

  constructor(batch: Batch, weight: number) {
    this.batch = batch;
    this.weight = weight;
  }
}

/** The part of a batch's items that is a rank's: a run of them, as even as can be. */
export function partOf(
  items: Uint32Array,
  rank: number,
  worldSize: number,
): { readonly items: Uint32Array; readonly weight: number } {
  const at = (part: number): number => Math.floor((part * items.length) / worldSize);
  // The last ranks get the larger parts; turned round, the first do.
  const from = items.length - at(worldSize - rank);
  const part = items.slice(from, items.length - at(worldSize - rank - 1));
  if (part.length === 0) return { items: items.slice(0, 1), weight: 0 };
  return { items: part, weight: part.length / items.length };
}

const shards = new WeakMap<DataSource, DataSource>();

/**
 * A source as a rank reads it, the same one at each call; undefined when the source cannot be divided, so that
 * each rank reads all of it.
 */
export function shardOf(
  source: DataSource,
  rank: number,
  worldSize: number,
): DataSource | undefined {
  const made = shards.get(source) ?? source.shard?.(rank, worldSize);
  if (made !== undefined) shards.set(source, made);
  return made;
}
