import type { JsonValue } from '../format/json.ts';
import type { Checkpoint } from '../trainer/checkpoint.ts';
import type { Trainer } from '../trainer/trainer.ts';
import type { TrainingModule } from '../trainer/training-module.ts';

/** Which of the Trainer's jobs is running. */
export type Stage = 'fit' | 'validate' | 'test' | 'predict';

/**
 * Hooks into training: a class or a plain object with any of these. Each may be async and is awaited.
 * Callbacks run in the order given, checkpoint callbacks after all others and after the module's hook.
 * What a hook throws ends `fit`, with the hook's name.
 */
export interface Callback {
  /** Identifies this callback's state in a checkpoint; default: the class's name. Unique per Trainer. */
  readonly stateKey?: string;
  /**
   * Marks a callback that judges metrics: it runs after the others and the module, when the metrics of the
   * hook are reduced, and before those that save. It has the hooks that these have: `setup`, `onTrainStart`,
   * `onTrainBatchEnd`, `onValidationEnd`, `onTrainEpochEnd`, `onTrainEnd` and `onException`.
   */
  readonly isMonitor?: boolean;
  /** Marks a callback that saves: it runs after all others. */
  readonly isCheckpoint?: boolean;
  /**
   * What a callback that judges or saves decides by, as JSON: its options. With several ranks they must be the same on all,
   * and are compared before training.
   */
  readonly rules?: Readonly<Record<string, unknown>>;

  setup?(trainer: Trainer, module: TrainingModule, stage: Stage): unknown;
  teardown?(trainer: Trainer, module: TrainingModule, stage: Stage): unknown;
  /** Before `configureOptimizers`: the last moment to freeze weights for a whole `fit`. */
  onBeforeOptimizerSetup?(trainer: Trainer, module: TrainingModule): unknown;
  onFitStart?(trainer: Trainer, module: TrainingModule): unknown;
  onFitEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onSanityCheckStart?(trainer: Trainer, module: TrainingModule): unknown;
  onSanityCheckEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onTrainStart?(trainer: Trainer, module: TrainingModule): unknown;
  onTrainEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onTrainEpochStart?(trainer: Trainer, module: TrainingModule): unknown;
  onTrainEpochEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onTrainBatchStart?(
    trainer: Trainer,
    module: TrainingModule,
    batch: unknown,
    batchIdx: number,
  ): unknown;
  onTrainBatchEnd?(
    trainer: Trainer,
    module: TrainingModule,
    outputs: unknown,
    batch: unknown,
    batchIdx: number,
  ): unknown;
  /** Gradients of a batch have been added to the pending ones. */
  onAfterBackward?(trainer: Trainer, module: TrainingModule): unknown;
  onBeforeOptimizerStep?(trainer: Trainer, module: TrainingModule): unknown;
  onValidationStart?(trainer: Trainer, module: TrainingModule): unknown;
  onValidationEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onValidationEpochStart?(trainer: Trainer, module: TrainingModule): unknown;
  onValidationEpochEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onValidationBatchStart?(
    trainer: Trainer,
    module: TrainingModule,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onValidationBatchEnd?(
    trainer: Trainer,
    module: TrainingModule,
    outputs: unknown,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onTestStart?(trainer: Trainer, module: TrainingModule): unknown;
  onTestEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onTestEpochStart?(trainer: Trainer, module: TrainingModule): unknown;
  onTestEpochEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onTestBatchStart?(
    trainer: Trainer,
    module: TrainingModule,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onTestBatchEnd?(
    trainer: Trainer,
    module: TrainingModule,
    outputs: unknown,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onPredictStart?(trainer: Trainer, module: TrainingModule): unknown;
  onPredictEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onPredictEpochStart?(trainer: Trainer, module: TrainingModule): unknown;
  onPredictEpochEnd?(trainer: Trainer, module: TrainingModule): unknown;
  onPredictBatchStart?(
    trainer: Trainer,
    module: TrainingModule,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onPredictBatchEnd?(
    trainer: Trainer,
    module: TrainingModule,
    outputs: unknown,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  /** `fit` is about to throw `error`. */
  onException?(trainer: Trainer, module: TrainingModule, error: unknown): unknown;
  /** The Trainer is about to print a message: whatever draws on the terminal makes room. */
  onMessage?(): void;
  /** Adds to a checkpoint about to be written. */
  onSaveCheckpoint?(trainer: Trainer, module: TrainingModule, checkpoint: Checkpoint): unknown;
  /** Reads a checkpoint that is being resumed from, before the weights are restored. */
  onLoadCheckpoint?(trainer: Trainer, module: TrainingModule, checkpoint: Checkpoint): unknown;

  /** This callback's own state, stored under {@link stateKey}. */
  stateDict?(): JsonValue;
  /** Puts it back, on resume. */
  loadStateDict?(state: JsonValue): void | Promise<void>;
}
