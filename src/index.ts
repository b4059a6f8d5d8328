export type { Callback, Stage } from './callbacks/callback.ts';
export { EarlyStopping, type EarlyStoppingOptions } from './callbacks/early-stopping.ts';
export {
  LearningRateMonitor,
  type LearningRateMonitorOptions,
} from './callbacks/learning-rate-monitor.ts';
export { type FormatNameOptions, ModelCheckpoint } from './callbacks/model-checkpoint.ts';
export { ModelSummary, type ModelSummaryOptions } from './callbacks/model-summary.ts';
export type { ProgressStream } from './callbacks/progress-bar/progress-painter.ts';
export { ProgressBar, type ProgressBarOptions } from './callbacks/progress-bar.ts';
export type { Duration, DurationParts } from './checkpoint/duration.ts';
export type { Mode } from './checkpoint/monitor.ts';
export type { ModelCheckpointOptions } from './checkpoint/options.ts';
export type {
  Engine,
  EvaluationStage,
  GradientClipping,
  LoadedTensor,
  LoadReport,
  StateEntry,
  StateGroup,
} from './engines/engine.ts';
export { LoadPlan, type TensorPlace } from './engines/load-plan.ts';
export {
  CheckpointFileError,
  CheckpointMismatchError,
  type ErrorCode,
  HighwaterError,
  MisconfigurationError,
  StorageError,
  type StorageErrorKind,
} from './errors.ts';
export type { DType } from './format/dtype.ts';
export type { JsonObject, JsonValue } from './format/json.ts';
export { CSVLogger, type CSVLoggerOptions } from './loggers/csv.ts';
export type { LogFolderOptions } from './loggers/log-folder.ts';
export type { Logger } from './loggers/logger.ts';
export { TensorBoardLogger, type TensorBoardLoggerOptions } from './loggers/tensorboard.ts';
export type { CheckpointReader } from './saving/checkpoint-reader.ts';
export type { SaveReport } from './saving/save-job.ts';
export type { LRCurve } from './schedulers/curve.ts';
export {
  cosineAnnealingLR,
  exponentialLR,
  lambdaLR,
  multiStepLR,
  type OneCycleOptions,
  oneCycleLR,
  stepLR,
} from './schedulers/curves.ts';
export { type PlateauOptions, reduceLROnPlateau } from './schedulers/reduce-on-plateau.ts';
export type { LRScheduler, LRSchedulerConfig } from './schedulers/scheduler.ts';
export { type LocalFilesOptions, localFiles } from './storages/local.ts';
export { memoryFiles } from './storages/memory.ts';
export type { ByteRange, Storage, StorageEntry, StorageWriter } from './storages/storage.ts';
export { singleStrategy } from './strategies/single.ts';
export type { NumberBuffer, Reduction, Strategy } from './strategies/strategy.ts';
export type { EvaluationOptions, FitOptions } from './trainer/call-options.ts';
export type { Checkpoint } from './trainer/checkpoint.ts';
export type { CheckpointCost } from './trainer/checkpoint-cost.ts';
export { DataLoader, type DataLoaderOptions } from './trainer/data-loader.ts';
export type { DataSource } from './trainer/data-source.ts';
export type { ReduceFx } from './trainer/epoch-reduction.ts';
export { openCheckpoint } from './trainer/load-weights.ts';
export type { LogOptions, LogValue } from './trainer/log-options.ts';
export type { TrainerOptions, ValCheckInterval } from './trainer/options.ts';
export { Rng, type RngState } from './trainer/rng.ts';
export { Share } from './trainer/share.ts';
export { stopOnSignals } from './trainer/stop-signals.ts';
export {
  type LoaderMetrics,
  Trainer,
} from './trainer/trainer.ts';
export { type HyperparameterOptions, TrainingModule } from './trainer/training-module.ts';
