import type { Stage } from '../callbacks/callback.ts';
import type { Checkpointing } from './checkpointing.ts';
import type { LearningRateSchedule } from './learning-rate.ts';
import type { LogScope } from './log-options.ts';
import type { MetricStore } from './metrics.ts';
import type { Progress } from './progress.ts';
import type { Rng } from './rng.ts';

/** One call of `fit`, `validate`, `test` or `predict`, as the Trainer shows it to hooks while it runs. */
export interface Run {
  readonly stage: Stage;
  readonly metrics: MetricStore;
  readonly rng: Rng;
  /** Where training stands. */
  readonly progress: Progress;
  /** The epoch that is reported instead of the progress's. */
  readonly sanityEpoch: number | undefined;
  readonly sanityChecking: boolean;
  /** What can be logged in the present hook; undefined: nothing. */
  readonly scope: LogScope | undefined;
  /** Of `fit` only. */
  readonly checkpointing: Checkpointing | undefined;
  readonly schedule: LearningRateSchedule;
  readonly trainBatches: number;
  /** Batches of each validation, test or predict loader. */
  readonly evaluationBatches: readonly number[];
  readonly hasValidation: boolean;
  /** See `FitData.whyUnvalidated`. */
  readonly whyUnvalidated: string | undefined;
  /** Runs the last hooks and lets go of what was logged. */
  close(): Promise<void>;
}
