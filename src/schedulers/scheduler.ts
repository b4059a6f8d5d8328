import type { JsonValue } from '../format/json.ts';

/**
 * Changes the learning rate while training goes on. The built-in ones return the rate, and the Trainer gives
 * it to the engine's optimizer; one of your own may instead set the rate itself and return nothing. Anything
 * with `step`, `stateDict` and `loadStateDict` works.
 */
export interface LRScheduler {
  /** True: {@link step} needs the value of a metric, so a `monitor` must be configured. Default false. */
  readonly needsMetric?: boolean;
  /**
   * Called once, before training and before a checkpoint is restored, with the rate that the optimizer was
   * made with; undefined when the engine does not know it.
   *
   * @returns the rate to begin with, or undefined to leave it.
   */
  start?(baseRate: number | undefined): number | undefined;
  /**
   * Moves on by one. Must be synchronous.
   *
   * @param metric the monitored value, when a `monitor` is configured.
   * @param rate the present rate; undefined when the engine does not know it.
   * @returns the rate from here on, or undefined when it stays or has been set already.
   */
  // biome-ignore lint/suspicious/noConfusingVoidType: a scheduler that sets the rate itself returns nothing.
  step(metric?: number, rate?: number): number | undefined | void;
  /** Where it stands: part of every checkpoint. */
  stateDict(): JsonValue;
  /** Puts it back, on resume. */
  loadStateDict(state: JsonValue): void;
}

/** A scheduler and when it moves on: what `configureOptimizers` returns as `lrScheduler`. */
export interface LRSchedulerConfig {
  readonly scheduler: LRScheduler;
  /** Move on after optimizer steps or after epochs. Default `'epoch'`. */
  readonly interval?: 'step' | 'epoch';
  /** Move on after every so many of them, an integer of at least 1. Default 1. */
  readonly frequency?: number;
  /**
   * Name of the metric that {@link LRScheduler.step} is given: its last value, after the validation of that
   * step or epoch if there is one.
   */
  readonly monitor?: string;
  /** Throw when the metric has not been logged (the default), or warn once and wait. */
  readonly strict?: boolean;
  /** What a `LearningRateMonitor` calls the rate. Default `'lr'`. */
  readonly name?: string;
}
