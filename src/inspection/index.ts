export { type CheckpointListing, listCheckpoints } from './list.ts';
export type { StorageOptions } from './place.ts';
export type { CheckpointSummary, FileState } from './summary.ts';
