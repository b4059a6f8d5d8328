import type { StateEntry } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { Strategy } from '../strategies/strategy.ts';
import { BufferBroadcast } from './buffer-broadcast.ts';
import { bytesOf, GradientBuckets } from './gradient-buckets.ts';
import { readInto } from './rank-state.ts';
import type { TrainingModule } from './training-module.ts';

/**
 * Adds up the gradients of all ranks after each batch. Each rank has weighted its own by its share of the batch,
 * so the sum is the gradient of the whole batch, as one process has it.
 *
 * Between two optimizer steps the sum so far lies with rank 0 alone: the next sum counts it once, and what a
 * checkpoint holds is that of all ranks.
 */
export class GradientSum {
  readonly #module: TrainingModule;
  readonly #strategy: Strategy;
  readonly #weightCount: number;
  /** Of the weights that have had a gradient on any rank. */
  #buckets: GradientBuckets = new GradientBuckets([]);
  /** Of the other weights. */
  readonly #buffers: BufferBroadcast;

  /** @throws MisconfigurationError for an engine that takes no gradients. */
  constructor(module: TrainingModule, strategy: Strategy) {
    if (module.replaceGradients === undefined) {
      throw new MisconfigurationError(
        `${module.constructor.name} (engine '${module.engineName}') has no replaceGradients, so it trains in one ` +
          `process only. See docs/guides/own-engine.md.`,
      );
    }
    this.#module = module;
    this.#strategy = strategy;
    this.#weightCount = weightsOf([...module.state()]).length;
    this.#buffers = new BufferBroadcast(module, strategy);
  }

  /**
   * The weights that have no gradient become those of rank 0.
   *
   * @param isComplete an optimizer step follows on every rank.
   * @param counted the gradients of this rank; default: the pending ones.
   */
  async add(isComplete: boolean, counted?: readonly StateEntry[]): Promise<void> {
    const entries = [...this.#module.state()];
    const weights = weightsOf(entries);
    if (weights.length !== this.#weightCount) {
      throw new MisconfigurationError(
        `${this.#module.constructor.name} had ${this.#weightCount} weights when training began, and now has ` +
          `${weights.length}. With several ranks all must be there from the start: build layers in the ` +
          `constructor or in setup().`,
      );
    }
    const pending = counted ?? entries.filter(({ group }) => group === 'gradient');
    const own = new Map(pending.map((entry) => [entry.name, entry]));
    while (!(await this.#isSummed(own))) await this.#learn(weights, own);
    await this.#buffers.share(weights.filter(({ name }) => !this.#buckets.has(name)));
    const isKept = isComplete || this.#strategy.isGlobalZero;
    await this.#module.replaceGradients?.(isKept ? this.#buckets.sums() : []);
  }

  /** Frees the tensors that it keeps. */
  release(): void {
    this.#buffers.release();
  }

  /** False when a rank has a gradient that the buckets have no place for: then nothing is summed. */
  async #isSummed(own: ReadonlyMap<string, StateEntry>): Promise<boolean> {
    const buckets = this.#buckets;
    buckets.mark(own);
    for (const place of buckets.places) {
      const gradient = own.get(place.entry.name);
      if (gradient !== undefined) await readInto(bytesOf(place), this.#module, gradient);
    }
    await this.#strategy.reduceGradients(buckets.arrays);
    return !buckets.isIncomplete;
  }

  /** All ranks get to know which weights have a gradient on any of them. */
  async #learn(
    weights: readonly StateEntry[],
    own: ReadonlyMap<string, StateEntry>,
  ): Promise<void> {
    const isPresent = weights.map(({ name }) => (own.has(name) || this.#buckets.has(name) ? 1 : 0));
    const onAny = await this.#strategy.reduce(isPresent, 'max');
    this.#buckets = new GradientBuckets(weights.filter((_, i) => onAny[i] === 1));
  }
}

function weightsOf(entries: readonly StateEntry[]): readonly StateEntry[] {
  return entries.filter(({ group }) => group === 'model');
}
