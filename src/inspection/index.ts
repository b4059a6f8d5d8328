export { compareScores } from '../checkpoint/monitor.ts';
export type { StorageOptions } from '../place.ts';
export { type AverageOptions, type AverageOutcome, averageCheckpoints } from './average.ts';
export {
  type Difference,
  type DiffOptions,
  diff,
  type MetadataChange,
  type TensorChange,
  type TensorForm,
} from './diff.ts';
export { documentLeaves } from './document-leaves.ts';
export type { FileFate, HistoryEvent } from './history.ts';
export {
  type GroupTotal,
  type Inspection,
  type InspectTensorOptions,
  inspect,
  inspectTensor,
  type TensorInspection,
} from './inspect.ts';
export { type CheckpointListing, listCheckpoints } from './list.ts';
export { type FolderPlan, type PruneOutcome, planPrune, prune } from './prune.ts';
export type { PrunePlan, PruneRules, PruneStep } from './prune-plan.ts';
export { type FileHistory, type History, readFileHistory, readHistory } from './read-history.ts';
export type { Score, StoredMetric, StoredName } from './stored-document.ts';
export { type CheckpointSummary, type FileState, groupedByFolder } from './summary.ts';
export type { TensorDifference } from './tensor-difference.ts';
export type { TensorInfo } from './tensor-info.ts';
export type { Histogram, TensorStatistics } from './tensor-statistics.ts';
export { type Verification, type VerifyOptions, type VerifyProgress, verify } from './verify.ts';
