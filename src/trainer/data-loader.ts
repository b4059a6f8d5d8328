import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import type { DataSource } from './data-source.ts';
import { Rng } from './rng.ts';
import { partOf, Share } from './share.ts';

/** Items by their index. `length` is read once, when a {@link DataLoader} is made of it. */
export interface Dataset<Item> {
  readonly length: number;
  /** The item at `index`, from 0 to `length - 1`. Called once per item and epoch; may be async. */
  get(index: number): Item | Promise<Item>;
}

/** Data that makes whole batches, without an object for each item: rows of big typed arrays, a database. */
export interface BatchDataset<Batch> {
  readonly length: number;
  /** The batch of these items, in this order. `indices` is the callee's to keep. May be async. */
  batch(indices: Uint32Array): Batch | Promise<Batch>;
}

/** How a {@link DataLoader} makes batches. */
export interface DataLoaderOptions<Item, Batch> {
  /** Items per batch, an integer of at least 1. The last batch of an epoch may be smaller. Default 1. */
  readonly batchSize?: number;
  /** Another order in every epoch, a function of `seed` and the epoch alone. Default false: by index. */
  readonly shuffle?: boolean;
  /** Seed of the order: an integer from 0 to 2^53 - 1. Default 0, so that a resume is exact without it. */
  readonly seed?: number;
  /** Leave out an epoch's last batch when it is smaller than `batchSize`. Default false. */
  readonly dropLast?: boolean;
  /**
   * Makes a batch of its items and their indices, both in the batch's order and the callee's to keep; may
   * be async. Default: the dataset's own `batch`, else the array of the items.
   */
  readonly collate?: (items: Item[], indices: Uint32Array) => Batch | Promise<Batch>;
}

const NAMES: OptionNames<DataLoaderOptions<unknown, unknown>> = {
  batchSize: true,
  shuffle: true,
  seed: true,
  dropLast: true,
  collate: true,
};

/** Where a {@link DataLoader} stands, and what of. Plain JSON. */
export type DataLoaderState = {
  /** 0-based epoch. */
  readonly epoch: number;
  /** Batches of this epoch that have been served. */
  readonly batchesServed: number;
  /** Items in the dataset. */
  readonly items: number;
  readonly batchSize: number;
  readonly dropLast: boolean;
  readonly shuffle: boolean;
  readonly seed: number;
};

/** A batch's items are counted in 32 bits. */
const MOST_ITEMS = 0xffff_ffff;

/**
 * Batches of a dataset, one epoch for each iteration, with a position that can be stored. Iterate it with
 * `for await`.
 *
 * The order of an epoch is a function of the seed and the epoch alone. An iteration that ends, or is left
 * early, moves on to the first batch of the next epoch; {@link setEpoch} chooses another. Between two
 * batches {@link stateDict} says how many have been served, and an iteration after {@link loadStateDict}
 * goes on with the next. One iteration at a time: use a second DataLoader over the same dataset for
 * validation. A dataset without items gives a loader of length 0.
 *
 * ```ts
 * const digits = new DataLoader(
 *   { length: labels.length, batch: (indices) => gatherRows(pixels, labels, indices) },
 *   { batchSize: 64, shuffle: true },
 * );
 * ```
 */
export class DataLoader<Item = unknown, Batch = Item[]> implements AsyncIterable<Batch> {
  readonly #items: number;
  readonly #batchSize: number;
  readonly #shuffle: boolean;
  readonly #seed: number;
  readonly #dropLast: boolean;
  readonly #build: (indices: Uint32Array) => Batch | Promise<Batch>;
  readonly #unshuffled: () => DataLoader<Item, Batch>;
  #epoch = 0;
  #batchesServed = 0;
  /** A position was loaded, and no iteration has gone on from it yet. */
  #isLoaded = false;

  /**
   * @param dataset an array or typed array, a {@link Dataset} or a {@link BatchDataset}, of at most
   * 2^32 - 1 items. Nothing is copied.
   * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
   */
  constructor(
    dataset: ArrayLike<Item> | Dataset<Item> | BatchDataset<Batch>,
    options: DataLoaderOptions<Item, Batch> = {},
  ) {
    checkOptionNames('DataLoader', options, NAMES);
    const { batchSize = 1, shuffle = false, seed = 0, dropLast = false, collate } = options;
    this.#items = count('dataset.length', dataset?.length, 0);
    this.#batchSize = count('batchSize', batchSize, 1);
    this.#shuffle = flag('shuffle', shuffle);
    this.#seed = count('seed', seed, 0, Number.MAX_SAFE_INTEGER);
    this.#dropLast = flag('dropLast', dropLast);
    this.#build = builderOf(dataset, collate);
    this.#unshuffled = () => new DataLoader(dataset, { ...options, shuffle: false });
  }

  /** Batches per epoch. */
  get length(): number {
    const batches = this.#items / this.#batchSize;
    return this.#dropLast ? Math.floor(batches) : Math.ceil(batches);
  }

  /** The rest of the epoch, from the loaded position or its first batch. */
  [Symbol.asyncIterator](): AsyncGenerator<Batch, void, undefined> {
    return this.#serve(this.#build);
  }

  /**
   * This loader as one of several ranks reads it: of each batch a run of its items, as even as can be, so
   * that all ranks together train on the batches of one process, in as many steps. `batchSize` is that of all
   * ranks. A rank for which a short batch has no item left gets its first one, at weight 0: it counts
   * nowhere. The position is this loader's.
   */
  shard(rank: number, worldSize: number): DataSource<Share<Batch>> {
    const share = async (indices: Uint32Array): Promise<Share<Batch>> => {
      const { items, weight } = partOf(indices, rank, worldSize);
      return new Share(await this.#build(items), weight);
    };
    return {
      length: this.length,
      setEpoch: (epoch) => this.setEpoch(epoch),
      stateDict: () => this.stateDict(),
      loadStateDict: (state) => this.loadStateDict(state),
      [Symbol.asyncIterator]: () => this.#serve(share),
    };
  }

  async *#serve<Served>(
    build: (indices: Uint32Array) => Served | Promise<Served>,
  ): AsyncGenerator<Served, void, undefined> {
    const epoch = this.#epoch;
    const order = this.#order(epoch);
    let served = this.#isLoaded ? this.#batchesServed : 0;
    this.#isLoaded = false;
    try {
      while (served < this.length) {
        const start = served * this.#batchSize;
        const batch = await build(order.slice(start, start + this.#batchSize));
        served++;
        this.#epoch = epoch;
        this.#batchesServed = served;
        yield batch;
      }
    } finally {
      // Unless the consumer has chosen where to go on.
      if (this.#epoch === epoch && !this.#isLoaded) this.setEpoch(epoch + 1);
    }
  }

  /** This loader, or one of the same batches by index when this one shuffles. */
  inOrder(): DataLoader<Item, Batch> {
    return this.#shuffle ? this.#unshuffled() : this;
  }

  /**
   * The epoch of the next iteration, 0-based, from its first batch; from the loaded position when that is
   * in this epoch. Call it between iterations.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) when it is not an integer of at least 0.
   */
  setEpoch(epoch: number): void {
    count('epoch', epoch, 0, Number.MAX_SAFE_INTEGER);
    if (this.#isLoaded && epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#batchesServed = 0;
    this.#isLoaded = false;
  }

  /** Where it stands: after the batch that was served last. Costs nothing. */
  stateDict(): DataLoaderState {
    return {
      epoch: this.#epoch,
      batchesServed: this.#batchesServed,
      items: this.#items,
      batchSize: this.#batchSize,
      dropLast: this.#dropLast,
      shuffle: this.#shuffle,
      seed: this.#seed,
    };
  }

  /**
   * The next iteration goes on after the batch that was served last when the state was read; if that was
   * the epoch's last, it serves none and moves on to the next epoch.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) for what is not such a state, and for the state of
   * a loader with other items, batches or order: it names both values. Nothing is changed then.
   */
  loadStateDict(state: JsonValue): void {
    const own = this.stateDict();
    if (!isState(state)) refuse('state', JSON.stringify(state), `like ${JSON.stringify(own)}`);
    for (const name of ['items', 'batchSize', 'dropLast', 'shuffle', 'seed'] as const) {
      const isUsed = name !== 'seed' || this.#shuffle;
      if (isUsed && state[name] !== own[name]) refuseOther(name, state[name], own[name]);
    }
    if (state.batchesServed > this.length) {
      refuse(
        'state.batchesServed',
        state.batchesServed,
        `at most ${this.length}, an epoch's batches`,
      );
    }
    this.#epoch = state.epoch;
    this.#batchesServed = state.batchesServed;
    this.#isLoaded = true;
  }

  #order(epoch: number): Uint32Array {
    const order = new Uint32Array(this.#items).map((_, index) => index);
    return this.#shuffle ? new Rng(this.#seed).fork(epoch).shuffle(order) : order;
  }
}

function builderOf<Item, Batch>(
  dataset: ArrayLike<Item> | Dataset<Item> | BatchDataset<Batch>,
  collate: DataLoaderOptions<Item, Batch>['collate'],
): (indices: Uint32Array) => Batch | Promise<Batch> {
  if (collate !== undefined && typeof collate !== 'function') {
    refuse('collate', collate, 'a function of (items, indices)');
  }
  if (collate === undefined && offers<BatchDataset<Batch>>(dataset, 'batch')) {
    return (indices) => dataset.batch(indices);
  }
  // Without `collate`, Batch is Item[].
  const assemble = collate ?? ((items: Item[]) => items as Batch);
  if (offers<Dataset<Item>>(dataset, 'get')) {
    return async (indices) => {
      const items = await Promise.all(Array.from(indices, (index) => dataset.get(index)));
      return assemble(items, indices);
    };
  }
  if (offers<BatchDataset<Batch>>(dataset, 'batch')) {
    refuse(
      'collate',
      'given',
      'absent, or the dataset must have get(index): it has no items to collate',
    );
  }
  return (indices) =>
    assemble(
      Array.from(indices, (index) => dataset[index]!),
      indices,
    );
}

function offers<Kind extends object>(
  dataset: object,
  method: keyof Kind & string,
): dataset is Kind {
  return typeof (dataset as Record<string, unknown>)[method] === 'function';
}

function isState(state: unknown): state is DataLoaderState {
  if (typeof state !== 'object' || state === null) return false;
  const { epoch, batchesServed } = state as Partial<Record<keyof DataLoaderState, unknown>>;
  return isCount(epoch, 0) && isCount(batchesServed, 0);
}

function isCount(value: unknown, least: number, most: number = Number.MAX_SAFE_INTEGER): boolean {
  return Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most;
}

function count(option: string, value: number, least: number, most: number = MOST_ITEMS): number {
  if (!isCount(value, least, most)) refuse(option, value, `an integer from ${least} to ${most}`);
  return value;
}

function flag(option: string, value: boolean): boolean {
  if (typeof value !== 'boolean') refuse(option, value, 'true or false');
  return value;
}

function refuse(option: string, value: unknown, allowed: string): never {
  refuseOption('DataLoader', option, value, allowed);
}

function refuseOther(name: string, stored: unknown, own: unknown): never {
  throw new MisconfigurationError(
    `DataLoader: the stored position is of a loader with ${name} ${JSON.stringify(stored)}, but this one has ` +
      `${name} ${String(own)}: it would not go on with the batches that come next.`,
    { details: { option: name, stored, value: own } },
  );
}
