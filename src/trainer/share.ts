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

/** How a batch is shared out, as one rank sees it. */
export interface BatchShare {
  /** This rank's part ÷ the whole batch; of a rank that has the whole of it, 1. */
  readonly weight: number;
  /** How many ranks have the same part: all of them of a batch that is not divided, else 1. */
  readonly copies: number;
}

/** All of a batch, on one rank. */
export const WHOLE: BatchShare = { weight: 1, copies: 1 };

/** Of a batch that bears the weight of a {@link Share}, or none when each of so many ranks has all of it. */
export function batchShare(weight: number | undefined, worldSize: number): BatchShare {
  return weight === undefined ? { weight: 1, copies: worldSize } : { weight, copies: 1 };
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
