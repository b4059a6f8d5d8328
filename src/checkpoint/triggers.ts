import type { CheckpointEvent } from './event.ts';
import type { ResolvedOptions } from './options.ts';

/** Whether a save is due at this event, and where the interval's timer stands after it. */
export interface TriggerOutcome {
  readonly isDue: boolean;
  readonly timerMs: number;
}

/**
 * The "when" of saving. Of the three triggers at most one is active; all off means never due (but
 * `saveLast` still saves at the end of training).
 */
export function trigger(
  options: ResolvedOptions,
  event: Omit<CheckpointEvent, 'metrics'>,
  timerMs: number,
): TriggerOutcome {
  // Without an interval no time is kept, so that equal runs have equal states.
  const isTimed = options.trainTimeIntervalMs !== undefined;
  const elapsedMs = isTimed ? timerMs + event.elapsedMs : 0;
  switch (event.hook) {
    case 'request':
      return { isDue: true, timerMs: elapsedMs };
    case 'trainBatchEnd': {
      if (!event.tookStep) return { isDue: false, timerMs: elapsedMs };
      const interval = options.trainTimeIntervalMs;
      if (interval === undefined) {
        return {
          isDue: isMultiple(event.globalStep, options.everyNTrainSteps),
          timerMs: elapsedMs,
        };
      }
      // The timer restarts when due, whether or not anything is saved then.
      return elapsedMs >= interval
        ? { isDue: true, timerMs: 0 }
        : { isDue: false, timerMs: elapsedMs };
    }
    case 'validationEnd':
    case 'trainEpochEnd': {
      const isEpochHook = (event.hook === 'trainEpochEnd') === options.saveOnTrainEpochEnd;
      return {
        isDue: isEpochHook && isMultiple(event.epoch + 1, options.everyNEpochs),
        timerMs: elapsedMs,
      };
    }
    case 'trainEnd':
    case 'exception':
    case 'interrupt':
      return { isDue: false, timerMs: elapsedMs };
  }
}

function isMultiple(count: number, n: number): boolean {
  return n > 0 && count % n === 0;
}

/** What the Trainer's settings say about validation. */
export interface ValidationSchedule {
  /** `checkValEveryNEpoch`; null counts batches across epochs. */
  readonly checkValEveryNEpoch: number | null;
  /** Whether `valCheckInterval` is the fraction 1 (given or default). */
  readonly isOncePerEpoch: boolean;
  readonly hasValidation: boolean;
  /** Why there is none, as sentences, when it seems that there should be one: for messages. */
  readonly whyUnvalidated?: string | undefined;
}

/**
 * `saveOnTrainEpochEnd` when it was not given: at the epoch's end unless validation runs at another
 * rhythm than the epoch, so that the metric which ranks was measured on the weights that are saved.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint.__resolve_save_on_train_epoch_end`.
 */
export function resolveSaveOnTrainEpochEnd(schedule: ValidationSchedule): boolean {
  if (schedule.checkValEveryNEpoch !== 1) return false;
  return !schedule.hasValidation || schedule.isOncePerEpoch;
}
