import { MisconfigurationError } from '../errors.ts';
import type { DataSource } from './data-source.ts';
import type { Progress } from './progress.ts';
import type { BatchLimit, TrainerSettings } from './settings.ts';

/** Batches of a source under a limit; Infinity when the source has no length and the limit is all. */
export function batchCount(option: string, source: DataSource, limit: BatchLimit): number {
  const length = source.length ?? Number.POSITIVE_INFINITY;
  if ('count' in limit) return Math.min(length, limit.count);
  if (limit.fraction === 1 || limit.fraction === 0) return limit.fraction === 0 ? 0 : length;
  if (length === Number.POSITIVE_INFINITY) {
    throw new MisconfigurationError(
      `Trainer: ${option} is the fraction ${limit.fraction}, but the data has no length. Give a number of batches.`,
    );
  }
  const batches = Math.floor(length * limit.fraction);
  if (batches > 0 || length === 0) return batches;
  throw new MisconfigurationError(
    `Trainer: ${option} is the fraction ${limit.fraction}, which is less than one of ${length} batches. Give at ` +
      `least ${Math.ceil(100 / length) / 100}, or a number of batches.`,
    { details: { option, fraction: limit.fraction, batches: length } },
  );
}

/** When validation runs, with everything resolved to batches. */
export interface ValidationPlan {
  readonly checkValEveryNEpoch: number | null;
  /** Batches between validations; Infinity: at the epoch's last batch. */
  readonly everyNBatches: number;
  /** False: there is nothing to validate. */
  readonly hasValidation: boolean;
}

/**
 * Source: PyTorch Lightning 2.6, `_FitLoop.setup_data`.
 * @throws MisconfigurationError when the interval is longer than the epoch, or a fraction of no length.
 */
export function planValidation(
  settings: TrainerSettings,
  trainBatches: number,
  hasValidation: boolean,
): ValidationPlan {
  const { checkValEveryNEpoch, valCheckInterval } = settings;
  const plan = { checkValEveryNEpoch, hasValidation };
  if ('batches' in valCheckInterval) {
    const { batches } = valCheckInterval;
    if (hasValidation && checkValEveryNEpoch !== null && batches > trainBatches) {
      throw new MisconfigurationError(
        `Trainer: valCheckInterval is ${batches} batches, but an epoch has ${trainBatches}. Use at most that, ` +
          `or checkValEveryNEpoch: null to count batches across epochs.`,
      );
    }
    return { ...plan, everyNBatches: batches };
  }
  if (trainBatches === Number.POSITIVE_INFINITY) {
    if (hasValidation && valCheckInterval.fraction !== 1) {
      throw new MisconfigurationError(
        `Trainer: valCheckInterval is the fraction ${valCheckInterval.fraction}, but the training data has no ` +
          `length. Use {batches: n}.`,
      );
    }
    return { ...plan, everyNBatches: Number.POSITIVE_INFINITY };
  }
  const everyNBatches = Math.max(1, Math.floor(trainBatches * valCheckInterval.fraction));
  return { ...plan, everyNBatches };
}

/** Whether a validation follows the batch that just ended. */
export function isValidationDue(plan: ValidationPlan, progress: Progress, stops: boolean): boolean {
  if (!plan.hasValidation) return false;
  const { checkValEveryNEpoch, everyNBatches } = plan;
  if (checkValEveryNEpoch !== null && (progress.epoch + 1) % checkValEveryNEpoch !== 0)
    return false;
  if (stops) return true;
  if (everyNBatches === Number.POSITIVE_INFINITY) return progress.isLastBatch;
  const batches = checkValEveryNEpoch === null ? progress.totalBatches : progress.batchesInEpoch;
  return batches % everyNBatches === 0;
}
