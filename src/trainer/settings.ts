import { durationMs } from '../checkpoint/duration.ts';
import { refuseOption } from '../option-check.ts';
import type { TrainerOptions, ValCheckInterval } from './options.ts';

/** Batches per epoch: a count, or a fraction of what there is. */
export type BatchLimit = { readonly count: number } | { readonly fraction: number };

/** The options as the loops use them. */
export interface TrainerSettings {
  readonly maxEpochs: number;
  readonly minEpochs: number;
  readonly maxSteps: number;
  readonly minSteps: number;
  readonly maxTimeMs: number;
  readonly checkValEveryNEpoch: number | null;
  readonly valCheckInterval: { readonly fraction: number } | { readonly batches: number };
  readonly limitTrainBatches: BatchLimit;
  readonly limitValBatches: BatchLimit;
  readonly limitTestBatches: BatchLimit;
  readonly limitPredictBatches: BatchLimit;
  /** `overfitBatches` is on: the limits are its, and nothing is shuffled. */
  readonly isOverfitting: boolean;
  readonly accumulateGradBatches: number;
  readonly gradientClipVal: number | undefined;
  readonly gradientClipAlgorithm: 'norm' | 'value';
  readonly numSanityValSteps: number;
  readonly logEveryNSteps: number;
  readonly fastDevRun: boolean;
  readonly seed: number;
  readonly asyncSave: boolean;
  readonly onSaveError: 'throw' | 'warn';
  readonly maxWaitingSaves: number;
}

/**
 * Checks the options that are numbers and fills in Lightning's defaults.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
 * Source: PyTorch Lightning 2.6, `Trainer.__init__`.
 */
export function resolveSettings(options: TrainerOptions): TrainerSettings {
  const fastDevBatches = resolveFastDevRun(options.fastDevRun);
  const maxSteps = unlimitedCount('maxSteps', options.maxSteps ?? -1);
  const maxTimeMs =
    options.maxTime === undefined || options.maxTime === null
      ? Number.POSITIVE_INFINITY
      : durationMs('maxTime', options.maxTime);
  const hasOtherLimit =
    maxSteps !== Number.POSITIVE_INFINITY || maxTimeMs !== Number.POSITIVE_INFINITY;
  const maxEpochs = unlimitedCount('maxEpochs', options.maxEpochs ?? (hasOtherLimit ? -1 : 1000));
  const checkValEveryNEpoch =
    options.checkValEveryNEpoch === null
      ? null
      : atLeast('checkValEveryNEpoch', options.checkValEveryNEpoch ?? 1, 1);
  const overfit = resolveOverfit(options.overfitBatches ?? 0);
  const settings: TrainerSettings = {
    maxEpochs,
    minEpochs: atLeast('minEpochs', options.minEpochs ?? 0, 0),
    maxSteps,
    minSteps: atLeast('minSteps', options.minSteps ?? 0, 0),
    maxTimeMs,
    checkValEveryNEpoch,
    valCheckInterval: resolveInterval(options.valCheckInterval ?? 1, checkValEveryNEpoch),
    limitTrainBatches: overfit ?? resolveLimit('limitTrainBatches', options.limitTrainBatches ?? 1),
    limitValBatches: overfit ?? resolveLimit('limitValBatches', options.limitValBatches ?? 1),
    limitTestBatches: resolveLimit('limitTestBatches', options.limitTestBatches ?? 1),
    limitPredictBatches: resolveLimit('limitPredictBatches', options.limitPredictBatches ?? 1),
    isOverfitting: overfit !== undefined,
    accumulateGradBatches: atLeast('accumulateGradBatches', options.accumulateGradBatches ?? 1, 1),
    gradientClipVal: resolveClip(options.gradientClipVal),
    gradientClipAlgorithm: oneOf('gradientClipAlgorithm', options.gradientClipAlgorithm ?? 'norm', [
      'norm',
      'value',
    ]),
    numSanityValSteps: unlimitedCount('numSanityValSteps', options.numSanityValSteps ?? 2),
    logEveryNSteps: atLeast('logEveryNSteps', options.logEveryNSteps ?? 50, 0),
    fastDevRun: fastDevBatches > 0,
    seed: resolveSeed(options.seed ?? 0),
    asyncSave: options.asyncSave ?? true,
    onSaveError: oneOf('onSaveError', options.onSaveError ?? 'throw', ['throw', 'warn']),
    maxWaitingSaves: atLeast('maxWaitingSaves', options.maxWaitingSaves ?? 1, 0),
  };
  if (fastDevBatches === 0) return settings;
  return {
    ...settings,
    maxEpochs: 1,
    maxSteps: fastDevBatches,
    limitTrainBatches: { count: fastDevBatches },
    limitValBatches: { count: fastDevBatches },
    limitTestBatches: { count: fastDevBatches },
    limitPredictBatches: { count: fastDevBatches },
    numSanityValSteps: 0,
    checkValEveryNEpoch: 1,
    valCheckInterval: { fraction: 1 },
  };
}

function resolveFastDevRun(value: boolean | number | undefined): number {
  if (value === undefined || value === false) return 0;
  return value === true ? 1 : atLeast('fastDevRun', value, 0);
}

function resolveInterval(
  value: ValCheckInterval,
  checkValEveryNEpoch: number | null,
): { readonly fraction: number } | { readonly batches: number } {
  if (typeof value === 'object') {
    return { batches: atLeast('valCheckInterval.batches', value.batches, 1) };
  }
  if (value > 1) return { batches: atLeast('valCheckInterval', value, 1) };
  if (!(value > 0)) {
    refuse('valCheckInterval', value, 'a fraction in (0, 1], an integer above 1, or {batches: n}');
  }
  if (checkValEveryNEpoch === null) {
    refuse('valCheckInterval', value, 'a number of batches when checkValEveryNEpoch is null');
  }
  return { fraction: value };
}

/** 1 is the fraction, as in Lightning for `1.0`; a JavaScript number cannot tell it from the count. */
function resolveLimit(option: string, value: number | { readonly batches: number }): BatchLimit {
  if (typeof value === 'object') return { count: atLeast(`${option}.batches`, value.batches, 0) };
  if (value >= 0 && value <= 1) return { fraction: value };
  return {
    count: atLeast(option, value, 0, 'a fraction in [0, 1] or a number of batches above 1'),
  };
}

/** Here 1 is the count: all batches, unshuffled, is hardly meant. */
function resolveOverfit(value: number): BatchLimit | undefined {
  if (value === 0) return undefined;
  if (value > 0 && value < 1) return { fraction: value };
  return { count: atLeast('overfitBatches', value, 0, 'a fraction in [0, 1) or an integer') };
}

function resolveClip(value: number | null | undefined): number | undefined {
  if (value === undefined || value === null || value === 0) return undefined;
  if (!(value > 0 && Number.isFinite(value))) refuse('gradientClipVal', value, 'a number above 0');
  return value;
}

function resolveSeed(seed: number): number {
  if (!Number.isInteger(seed) || seed < 0 || seed > 0xffffffff) {
    refuse('seed', seed, 'an integer from 0 to 4294967295');
  }
  return seed;
}

function unlimitedCount(option: string, value: number): number {
  const count = atLeast(option, value, -1, 'an integer of at least -1 (-1 is without limit)');
  return count === -1 ? Number.POSITIVE_INFINITY : count;
}

function atLeast(
  option: string,
  value: number,
  least: number,
  allowed: string = `an integer of at least ${least}`,
): number {
  if (!Number.isSafeInteger(value) || value < least) refuse(option, value, allowed);
  return value;
}

function oneOf<T extends string>(option: string, value: T, allowed: readonly T[]): T {
  if (!allowed.includes(value))
    refuse(option, value, allowed.map((name) => `'${name}'`).join(' or '));
  return value;
}

function refuse(option: string, value: unknown, allowed: string): never {
  refuseOption('Trainer', option, value, allowed);
}
