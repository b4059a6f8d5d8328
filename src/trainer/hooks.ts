import type { Callback } from '../callbacks/callback.ts';
import { HighwaterError } from '../errors.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';

/** A hook that both callbacks and the module may have. */
export type SharedHook = keyof TrainingModule & keyof Callback & `on${string}`;
/** A hook that only callbacks have. */
export type CallbackHook = Exclude<keyof Callback & `on${string}`, SharedHook>;

type AnyHook = (...args: unknown[]) => unknown;

/** Calls user code, one hook at a time, and names the hook in what it throws. */
export class Hooks {
  readonly #trainer: Trainer;
  readonly #module: TrainingModule;
  readonly #callbacks: readonly Callback[];

  constructor(trainer: Trainer, module: TrainingModule, callbacks: readonly Callback[]) {
    this.#trainer = trainer;
    this.#module = module;
    this.#callbacks = callbacks;
  }

  /** A hook of every callback that neither judges nor saves, then of the module; what the module returned. */
  async run(
    hook: SharedHook | CallbackHook | 'setup' | 'teardown',
    ...args: unknown[]
  ): Promise<unknown> {
    for (const callback of this.#callbacks) {
      if (rankOf(callback) === 0) await this.#callback(callback, hook, args);
    }
    const own = (this.#module as unknown as Record<string, AnyHook | undefined>)[hook];
    return own === undefined
      ? undefined
      : await this.guard(hook, () => own.apply(this.#module, args));
  }

  /** A hook of the callbacks that judge metrics, then of those that save: after all others. */
  async runCheckpoints(hook: keyof Callback | 'onInterrupt', ...args: unknown[]): Promise<void> {
    for (const rank of [1, 2]) {
      for (const callback of this.#callbacks) {
        if (rankOf(callback) === rank) await this.#callback(callback, hook, args);
      }
    }
  }

  async #callback(callback: Callback, hook: string, args: readonly unknown[]): Promise<void> {
    const own = (callback as unknown as Record<string, AnyHook | undefined>)[hook];
    if (own === undefined) return;
    await this.guard(hook, () => own.call(callback, this.#trainer, this.#module, ...args));
  }

  /** {@link guard} for what rank 0 alone runs: a logger's code. */
  async apart<T>(hook: string, code: () => T | Promise<T>): Promise<T> {
    return await this.guard(hook, () => this.#trainer.ranks.apart(code));
  }

  /**
   * Runs user code. @throws HighwaterError (`HOOK_FAILED`) naming the hook and where training stood, with
   * what was thrown as `cause`; an error of Highwater's own passes as it is.
   */
  async guard<T>(hook: string, code: () => T | Promise<T>): Promise<T> {
    try {
      return await code();
    } catch (cause) {
      if (cause instanceof HighwaterError) throw cause;
      const { currentEpoch, globalStep, ranks } = this.#trainer;
      const why = cause instanceof Error ? cause.message : String(cause);
      const error = new HighwaterError(
        'HOOK_FAILED',
        `${hook} failed in epoch ${currentEpoch} at globalStep ${globalStep}: ${why}`,
        { details: { hook, epoch: currentEpoch, globalStep }, cause },
      );
      throw ranks.isShared(cause) ? ranks.share(error) : error;
    }
  }
}

/** Those that judge metrics run after all others, those that save after these. */
function rankOf({ isMonitor, isCheckpoint }: Callback): 0 | 1 | 2 {
  if (isCheckpoint === true) return 2;
  return isMonitor === true ? 1 : 0;
}
