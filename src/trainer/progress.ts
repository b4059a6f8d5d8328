import { CheckpointFileError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';

/**
 * What comes next in training. The fit loop is a walk from one to the next, and a checkpoint stores where
 * it stands: so a resume goes on with the very hook that would have come next.
 *
 * epochStart → batch → batchEnd → batchSave → (validation → validationEnd → validationSave →) batch … →
 * epochEnd → epochSave → epochStart … → trainEnd → trainSave → finished
 */
export type NextStep =
  | 'epochStart'
  | 'batch'
  | 'batchEnd'
  | 'batchSave'
  | 'validation'
  | 'validationEnd'
  | 'validationSave'
  | 'epochEnd'
  | 'epochSave'
  | 'trainEnd'
  | 'trainSave'
  | 'finished';

const NEXT_STEPS: ReadonlySet<string> = new Set<NextStep>([
  'epochStart',
  'batch',
  'batchEnd',
  'batchSave',
  'validation',
  'validationEnd',
  'validationSave',
  'epochEnd',
  'epochSave',
  'trainEnd',
  'trainSave',
  'finished',
]);

/** How far training has come. Immutable: each hook makes the next. */
export interface Progress {
  readonly next: NextStep;
  /** 0-based epoch; once training has ended, the number of finished epochs. */
  readonly epoch: number;
  /** Batches completed in this epoch. */
  readonly batchesInEpoch: number;
  /** Batches completed in all epochs. */
  readonly totalBatches: number;
  /** Optimizer steps taken. */
  readonly globalStep: number;
  /** Whether the batch just completed was the epoch's last. */
  readonly isLastBatch: boolean;
  /** Whether the batch just completed took an optimizer step. */
  readonly tookStep: boolean;
  /** Validations run since training began. */
  readonly validations: number;
}

export const START: Progress = {
  next: 'epochStart',
  epoch: 0,
  batchesInEpoch: 0,
  totalBatches: 0,
  globalStep: 0,
  isLastBatch: false,
  tookStep: false,
  validations: 0,
};

/** As a checkpoint stores it. */
export function progressToJson(progress: Progress): JsonObject {
  return { ...progress };
}

/** @throws CheckpointFileError when a field is not what it must be: it comes from a file. */
export function progressFromJson(json: JsonValue | undefined): Progress {
  const stored = (typeof json === 'object' && json !== null ? json : {}) as JsonObject;
  const fail = (field: string): never => {
    throw new CheckpointFileError(
      `The stored loop state holds ${JSON.stringify(stored[field])} as ${field}.`,
    );
  };
  const count = (field: string): number => {
    const value = stored[field];
    return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : fail(field);
  };
  const flag = (field: string): boolean => {
    const value = stored[field];
    return typeof value === 'boolean' ? value : fail(field);
  };
  const next = stored.next;
  if (typeof next !== 'string' || !NEXT_STEPS.has(next)) fail('next');
  return {
    next: next as NextStep,
    epoch: count('epoch'),
    batchesInEpoch: count('batchesInEpoch'),
    totalBatches: count('totalBatches'),
    globalStep: count('globalStep'),
    isLastBatch: flag('isLastBatch'),
    tookStep: flag('tookStep'),
    validations: count('validations'),
  };
}
