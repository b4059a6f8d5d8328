import type { AsyncLocalStorage } from 'node:async_hooks';
import { HighwaterError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import type { Reduction, Strategy } from '../strategies/strategy.ts';
import { errorFromJson, errorToJson } from './carried-error.ts';

/**
 * How long a rank that has failed gives rank 0 before it ends the job: when all fail alike, rank 0 may have a
 * state to save.
 */
const GRACE_MS = 1_000;

/** The ranks of a run, as the Trainer sees them. Alone, nothing of it costs anything. */
export class Ranks {
  readonly strategy: Strategy | undefined;
  #hasParted = false;
  /** Errors that every rank throws. */
  readonly #shared = new WeakSet<object>();
  /** Marks what runs {@link apart}; undefined while there are no others. */
  #apart: AsyncLocalStorage<true> | undefined;

  constructor(strategy?: Strategy) {
    this.strategy = strategy;
  }

  get rank(): number {
    return this.strategy?.rank ?? 0;
  }
  get count(): number {
    return this.strategy?.worldSize ?? 1;
  }
  get isZero(): boolean {
    return this.rank === 0;
  }
  /** Whether there are others to work with. */
  get areMany(): boolean {
    return this.count > 1 && !this.#hasParted && !this.isApart;
  }
  /** Whether the caller runs {@link apart} from the others. */
  get isApart(): boolean {
    return this.#apart?.getStore() === true;
  }

  /**
   * Runs code that the other ranks do not run, such as a logger's. Nothing in it is done together with them, however
   * long it lasts: they know nothing of it, and what they do meanwhile goes on beside it.
   */
  async apart<T>(work: () => T | Promise<T>): Promise<T> {
    return this.#apart === undefined ? await work() : await this.#apart.run(true, work);
  }

  /**
   * This rank has failed. Unless the others throw the same error, they know nothing of it: nothing can be done together
   * any more, and this rank works alone from here on. True then, at the first such error.
   */
  part(error: unknown): boolean {
    if (!this.areMany || this.isShared(error)) return false;
    this.#hasParted = true;
    return true;
  }

  /** Every rank throws this error. */
  share<E>(error: E): E {
    if (typeof error === 'object' && error !== null) this.#shared.add(error);
    return error;
  }

  /** Whether every rank throws this error, so that none waits for another. */
  isShared(error: unknown): boolean {
    return typeof error === 'object' && error !== null && this.#shared.has(error);
  }

  /** Does something on rank 0 alone; every rank has the result, or throws the same error. */
  async fromZero<T extends JsonValue>(work: () => T | Promise<T>): Promise<T> {
    if (!this.areMany) return await work();
    let own: unknown;
    let told: JsonValue = null;
    if (this.isZero) {
      try {
        told = { result: await this.apart(work) };
      } catch (error) {
        own = this.share(error);
        told = { error: errorToJson(error) };
      }
    }
    const { result, error } = (await this.#others.broadcast(told)) as {
      readonly result?: T;
      readonly error?: JsonValue;
    };
    if (error === undefined) return result as T;
    throw own ?? this.share(errorFromJson(error));
  }

  /** {@link fromZero} for what has no result. */
  async onZero(work: () => unknown): Promise<void> {
    if (!this.areMany) {
      await work();
      return;
    }
    await this.fromZero(async () => {
      await work();
      return null;
    });
  }

  /** Rank 0's value. */
  async broadcast(value: JsonValue): Promise<JsonValue> {
    return this.areMany ? await this.#others.broadcast(value) : value;
  }

  /** The values of all ranks. */
  async gather(value: JsonValue): Promise<readonly JsonValue[]> {
    return this.areMany ? await this.#others.gather(value) : [value];
  }

  /** Numbers of all ranks, element by element. */
  async reduce(values: readonly number[], how: Reduction): Promise<readonly number[]> {
    return this.areMany ? await this.#others.reduce(values, how) : values;
  }

  /** Does something on every rank; when it fails on any, all throw the error of the first that failed. */
  async together(work: () => Promise<void>): Promise<void> {
    if (!this.areMany) {
      await work();
      return;
    }
    let own: unknown;
    let told: JsonValue = null;
    try {
      await work();
    } catch (error) {
      own = error;
      told = errorToJson(error);
    }
    const all = await this.#others.gather(told);
    const first = all.findIndex((error) => error !== null);
    if (first < 0) return;
    throw this.share(first === this.rank ? own : errorFromJson(all[first] ?? null));
  }

  /**
   * Runs a whole call of the Trainer. An error that only this rank has ends the job: the others wait for what
   * will never come.
   */
  async during<T>(work: () => Promise<T>): Promise<T> {
    const { strategy } = this;
    if (strategy === undefined) return await work();
    await strategy.setup();
    if (this.count === 1) return await work();
    const onIdle = (): void => {
      void strategy.abort(
        new HighwaterError(
          'STRATEGY_FAILED',
          'Nothing is left to do, but training has not ended: a promise that a hook returned never settles.',
        ),
      );
    };
    this.#hasParted = false;
    const { AsyncLocalStorage } = await import('node:async_hooks');
    this.#apart ??= new AsyncLocalStorage();
    process.prependListener('beforeExit', onIdle);
    try {
      return await work();
    } catch (error) {
      if (this.isShared(error)) throw error;
      if (!this.isZero) await new Promise((resolve) => setTimeout(resolve, GRACE_MS));
      return await strategy.abort(error);
    } finally {
      process.off('beforeExit', onIdle);
    }
  }

  get #others(): Strategy {
    return this.strategy as Strategy;
  }
}
