import type { JsonValue } from '../format/json.ts';

/** How the values of all ranks become one, element by element. */
export type Reduction = 'sum' | 'min' | 'max';

/** Numbers that are reduced in place, at the machine's speed. */
export type NumberBuffer = Float32Array | Float64Array;

/**
 * The processes that train together. Each is a rank; rank 0 decides, writes and prints.
 *
 * Every method but {@link setup}, {@link teardown} and {@link abort} is collective: all ranks call the same
 * ones in the same order, with the same lengths, and none resolves before all that it needs have called it.
 * Calls may overlap: they are carried out one after the other, in the order in which they were made. What crosses
 * ranks is copied. When the ranks call different methods, or with different lengths, each of those calls rejects on its rank,
 * with an error (`STRATEGY_FAILED`) that names both; the next ones are carried out.
 */
export interface Strategy {
  /** For messages: `single`, `openmpi`, `mpich`. */
  readonly name: string;
  /** 0-based; known before {@link setup}. */
  readonly rank: number;
  /** How many ranks there are, at least 1; known before {@link setup}. */
  readonly worldSize: number;
  /** Whether this is rank 0. */
  readonly isGlobalZero: boolean;

  /**
   * Joins the others; the Trainer calls it before anything else. Does nothing when this process has joined.
   * From here until {@link teardown} a process that ends, in whatever way, ends the whole job.
   */
  setup(): Promise<void>;
  /**
   * Leaves: from here on the process may end without the others. Waits until they leave too. Happens by itself
   * when a process has nothing left to do; after it there is no way back in.
   */
  teardown(): Promise<void>;

  /** Resolves once every rank has called it. */
  barrier(): Promise<void>;
  /** Rank 0's value, on every rank; what the others give is ignored. */
  broadcast(value: JsonValue): Promise<JsonValue>;
  /** Fills `bytes` with those of rank 0, in place. Of any size, the same on every rank. */
  broadcastTensor(bytes: Uint8Array): Promise<void>;
  /**
   * The sums over all ranks, in place: every rank has the same bits afterwards. One flat bucket for each dtype;
   * the gradients in them are weighted already, so that their sum is the average.
   */
  reduceGradients(buckets: readonly NumberBuffer[]): Promise<void>;
  /** Whether the value is true on any rank, or on all. */
  reduceBoolean(value: boolean, over: 'any' | 'all'): Promise<boolean>;
  /** Some numbers of all ranks, element by element. NaN on any rank gives NaN in a sum, and anything in the others. */
  reduce(values: readonly number[], how: Reduction): Promise<readonly number[]>;
  /** The values of all ranks, by rank, on every rank. */
  gather(value: JsonValue): Promise<readonly JsonValue[]>;

  /**
   * Prints why, and ends all ranks at once: for what happened to this rank alone, while the others wait for it.
   * Does not return where there are others.
   */
  abort(error: unknown): Promise<never>;
}
