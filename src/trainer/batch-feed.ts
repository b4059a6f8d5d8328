import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import type { DataSource } from './data-source.ts';
import { Share } from './share.ts';

/** Where a data source stands between two batches. */
export type FeedPosition =
  /** The source keeps its own state. */
  | { readonly kind: 'state'; readonly state: JsonValue }
  /** So many batches of the epoch were served: they are skipped. */
  | { readonly kind: 'served'; readonly batches: number };

/** One batch, and whether another follows. */
export interface FedBatch {
  readonly batch: unknown;
  /** Of a {@link Share}: how much of the whole batch it is; undefined for a batch as it is. */
  readonly weight: number | undefined;
  readonly isLast: boolean;
}

/**
 * One epoch's batches of a data source. Knows which batch is the last: from the source's `length`, else by
 * looking one batch ahead.
 */
export class BatchFeed {
  readonly #source: DataSource;
  readonly #limit: number;
  readonly #iterator: Iterator<unknown> | AsyncIterator<unknown>;
  #served: number;
  #ahead: IteratorResult<unknown> | undefined;
  #position: FeedPosition;

  /** @param limit batches in this epoch at most; Infinity: all. @param served batches of it already done. */
  constructor(source: DataSource, limit: number, served = 0) {
    this.#source = source;
    this.#limit = limit;
    this.#served = served;
    this.#iterator =
      Symbol.asyncIterator in source
        ? source[Symbol.asyncIterator]()
        : (source as Iterable<unknown>)[Symbol.iterator]();
    this.#position = positionOf(source, served);
  }

  /** Where the source stands after the last batch that was completed. */
  get position(): FeedPosition {
    return this.#position;
  }

  /** The next batch, or undefined at the epoch's end. */
  async next(): Promise<FedBatch | undefined> {
    if (this.#served >= this.#limit) return undefined;
    const result = this.#ahead ?? (await this.#iterator.next());
    this.#ahead = undefined;
    if (result.done) return undefined;
    const { value } = result;
    const isLast = await this.#isLastOne();
    return value instanceof Share
      ? { batch: value.batch, weight: value.weight, isLast }
      : { batch: value, weight: undefined, isLast };
  }

  /** The batch that {@link next} gave is done: it counts in {@link position}. */
  complete(): void {
    this.#served++;
    this.#position =
      this.#ahead === undefined
        ? positionOf(this.#source, this.#served)
        : (this.#positionBeforeAhead ?? positionOf(this.#source, this.#served));
  }

  /** Ends the iteration early, as `break` would. */
  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  #positionBeforeAhead: FeedPosition | undefined;

  async #isLastOne(): Promise<boolean> {
    const count = this.#served + 1;
    if (count >= this.#limit) return true;
    const { length } = this.#source;
    if (typeof length === 'number') return count >= length;
    this.#positionBeforeAhead = positionOf(this.#source, count);
    this.#ahead = await this.#iterator.next();
    return this.#ahead.done === true;
  }
}

/** Where a source stands when no feed is open. */
export function positionOf(source: DataSource, served: number): FeedPosition {
  return source.stateDict === undefined
    ? { kind: 'served', batches: served }
    : { kind: 'state', state: source.stateDict() };
}

/**
 * A feed for the rest of an epoch of which `served` batches are done. A source that keeps its own state has
 * been told it ({@link restoreSource}); of any other, the batches that were served are iterated past.
 *
 * @throws MisconfigurationError when the source ends before that.
 */
export async function feedAfter(
  source: DataSource,
  limit: number,
  served: number,
): Promise<BatchFeed> {
  if (source.stateDict !== undefined) return new BatchFeed(source, limit, served);
  const feed = new BatchFeed(source, limit);
  for (let i = 0; i < served; i++) {
    if ((await feed.next()) === undefined) {
      throw new MisconfigurationError(
        `The training data ended after ${i} batches, but the checkpoint was saved after ${served} of this ` +
          `epoch: it is not the data this run was trained on.`,
        { details: { batches: i, served } },
      );
    }
    feed.complete();
  }
  return feed;
}

/** Tells a source that keeps its own state where it stood. */
export function restoreSource(source: DataSource, position: FeedPosition | undefined): void {
  if (position?.kind === 'state') source.loadStateDict?.(position.state);
}

/**
 * Whether a resume in the middle of an epoch can be exact: the source keeps its state, or starts over with
 * the same batches when it is iterated again, as one with a length is taken to do.
 */
export function isExactlyResumable(source: DataSource): boolean {
  if (source.stateDict !== undefined && source.loadStateDict !== undefined) return true;
  return typeof source.length === 'number';
}
