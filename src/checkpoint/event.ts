import type { MetricReading } from './monitor.ts';

/**
 * Where in training a decision is asked for. `request` is a call of `saveCheckpoint`: due at once.
 * `exception` is `fit` about to throw; `interrupt` is a run asked to stop, to be resumed later.
 */
export type CheckpointHook =
  | 'trainBatchEnd'
  | 'validationEnd'
  | 'trainEpochEnd'
  | 'trainEnd'
  | 'request'
  | 'exception'
  | 'interrupt';

/** One hook of training, as the rules see it: all they know of the world. */
export interface CheckpointEvent {
  readonly hook: CheckpointHook;
  /** 0-based epoch; at `trainEnd` the number of finished epochs. */
  readonly epoch: number;
  /** Optimizer steps taken so far. */
  readonly globalStep: number;
  /** Whether the batch that just ended took an optimizer step (only at `trainBatchEnd`). */
  readonly tookStep: boolean;
  /** Every metric logged so far: its last value. */
  readonly metrics: ReadonlyMap<string, MetricReading>;
  /** Training time since this callback's previous event, in milliseconds, by rank 0's clock. */
  readonly elapsedMs: number;
  /** Whether a metric that is still missing at an epoch's end cannot be excused by a validation to come. */
  readonly hasValidated: boolean;
  /** Why nothing is validated, as sentences, when it seems that something should be: for the message of an error. */
  readonly whyUnvalidated?: string | undefined;
}
