import type { Logger } from '../loggers/logger.ts';
import type { Checkpointing } from './checkpointing.ts';
import type { FitData } from './fit-data.ts';
import type { GradientSum } from './gradient-sum.ts';
import type { Hooks } from './hooks.ts';
import type { LearningRate } from './learning-rate.ts';
import type { LogScope } from './log-options.ts';
import type { MetricStore } from './metrics.ts';
import type { ObservedHook } from './options.ts';
import type { Ranks } from './ranks.ts';
import type { Rng } from './rng.ts';
import type { ValidationPlan } from './schedule.ts';
import type { TrainerSettings } from './settings.ts';
import type { TrainingModule } from './training-module.ts';

/** Everything one `fit` works with. */
export interface FitContext {
  readonly module: TrainingModule;
  readonly ranks: Ranks;
  /** Undefined in one process. */
  readonly gradients: GradientSum | undefined;
  readonly settings: TrainerSettings;
  readonly hooks: Hooks;
  readonly metrics: MetricStore;
  readonly rng: Rng;
  readonly checkpointing: Checkpointing;
  readonly loggers: readonly Logger[];
  readonly learningRate: LearningRate;
  readonly data: FitData;
  readonly plan: ValidationPlan;
  /** Aborted when the run shall stop at the next hook and be resumed later. */
  readonly signal: AbortSignal | undefined;
  shouldStop(): boolean;
  warn(message: string): void;
  /** Another rank wants to stop. */
  stop(): void;
  setScope(scope: LogScope | undefined): void;
  completed(hook: ObservedHook, info?: { readonly batchIdx?: number }): Promise<void>;
}
