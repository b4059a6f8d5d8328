import type { Callback } from '../callbacks/callback.ts';
import { ModelCheckpoint } from '../callbacks/model-checkpoint.ts';
import { ProgressBar } from '../callbacks/progress-bar.ts';
import { type Duration, durationMs } from '../checkpoint/duration.ts';
import { absoluteFolder } from '../checkpoint/folder.ts';
import { MisconfigurationError } from '../errors.ts';
import { CSVLogger } from '../loggers/csv.ts';
import type { Logger } from '../loggers/logger.ts';
import { whereabouts } from '../saving/whereabouts.ts';
import { localFiles } from '../storages/local.ts';
import type { Storage } from '../storages/storage.ts';

/** When a validation runs within an epoch: a fraction of it, or a number of batches. */
export type ValCheckInterval = number | { readonly batches: number };

/** The hooks after which a `onHookCompleted` observer is called. */
export type ObservedHook =
  | 'sanityValidationEnd'
  | 'trainStart'
  | 'trainBatchEnd'
  | 'validationEnd'
  | 'trainEpochEnd'
  | 'trainEnd';

/** Where the Trainer's own messages go. */
export interface MessageSink {
  info(message: string): void;
  warn(message: string): void;
}

/** What `new Trainer(options)` takes. Names and defaults are Lightning's. */
export interface TrainerOptions {
  /** Epochs at most; -1 without limit. Default 1000, or no limit when `maxSteps` or `maxTime` is given. */
  readonly maxEpochs?: number | null | undefined;
  /** Epochs at least, before `shouldStop` is heeded. Default none. */
  readonly minEpochs?: number | null | undefined;
  /** Optimizer steps at most; -1 (the default) without limit. */
  readonly maxSteps?: number | undefined;
  /** Optimizer steps at least, before `shouldStop` is heeded. Default none. */
  readonly minSteps?: number | null | undefined;
  /** Training time at most: milliseconds or parts. Training stops after the batch in which it is reached. */
  readonly maxTime?: Duration | null | undefined;
  /** Folder for everything that has no folder of its own. Default: the working folder. */
  readonly defaultRootDir?: string | undefined;
  /** Folder for checkpoints, instead of the logger's or `defaultRootDir`. */
  readonly weightsSavePath?: string | undefined;
  /** Loggers; `false` for none. Default: a `CSVLogger` in `defaultRootDir`. */
  readonly logger?: Logger | readonly Logger[] | boolean | undefined;
  readonly callbacks?: Callback | readonly Callback[] | undefined;
  /** Add a `ModelCheckpoint` when there is none among the callbacks. Default true. */
  readonly enableCheckpointing?: boolean | undefined;
  /** Default true. */
  readonly enableProgressBar?: boolean | undefined;
  /** Validate every n epochs; null: `valCheckInterval` counts batches across epochs. Default 1. */
  readonly checkValEveryNEpoch?: number | null | undefined;
  /** A fraction in (0, 1] of the epoch, a number of batches above 1, or `{batches: n}`. Default 1.0. */
  readonly valCheckInterval?: ValCheckInterval | undefined;
  /** Batches per training epoch: a fraction in [0, 1], a count above 1, or `{batches: n}`. Default 1: all. */
  readonly limitTrainBatches?: number | { readonly batches: number } | undefined;
  /** The same for each validation loader. */
  readonly limitValBatches?: number | { readonly batches: number } | undefined;
  /** Batches whose gradients make one optimizer step. Default 1. */
  readonly accumulateGradBatches?: number | undefined;
  /** Clip gradients to this norm or value, above 0; null (the default) does not. */
  readonly gradientClipVal?: number | null | undefined;
  /** Default `'norm'`. */
  readonly gradientClipAlgorithm?: 'norm' | 'value' | undefined;
  /** Validation batches per loader before training, as a check; 0 none, -1 all. Default 2. */
  readonly numSanityValSteps?: number | undefined;
  /** Log step metrics every n optimizer steps. Default 50. */
  readonly logEveryNSteps?: number | undefined;
  /** Run n batches (true: 1) of each kind for one epoch, and write nothing. Default false. */
  readonly fastDevRun?: boolean | number | undefined;
  /** Seed of the Trainer's random numbers: a 32-bit unsigned integer. Default 0. */
  readonly seed?: number | undefined;
  /** Save behind training (the default), or wait in the hook until each save is durable. */
  readonly asyncSave?: boolean | undefined;
  /**
   * Saves that may wait while one is written; beyond that the hook that saves waits. Each holds a snapshot:
   * at most `1 + maxWaitingSaves` states are kept in memory beside the present one. Default 1.
   */
  readonly maxWaitingSaves?: number | undefined;
  /** Where checkpoints live. Default: local files. */
  readonly storage?: Storage | undefined;
  /** Where messages go. Default: the console. */
  readonly console?: MessageSink | undefined;
  /**
   * Called, and awaited, after everything of a hook is done, checkpoint decisions included. For tests and
   * tools that replay training; training itself needs no such hook.
   */
  readonly onHookCompleted?:
    | ((hook: ObservedHook, info: { readonly batchIdx?: number }) => unknown)
    | undefined;
}

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
  readonly accumulateGradBatches: number;
  readonly gradientClipVal: number | undefined;
  readonly gradientClipAlgorithm: 'norm' | 'value';
  readonly numSanityValSteps: number;
  readonly logEveryNSteps: number;
  readonly fastDevRun: boolean;
  readonly seed: number;
  readonly asyncSave: boolean;
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
  const settings: TrainerSettings = {
    maxEpochs,
    minEpochs: atLeast('minEpochs', options.minEpochs ?? 0, 0),
    maxSteps,
    minSteps: atLeast('minSteps', options.minSteps ?? 0, 0),
    maxTimeMs,
    checkValEveryNEpoch,
    valCheckInterval: resolveInterval(options.valCheckInterval ?? 1, checkValEveryNEpoch),
    limitTrainBatches: resolveLimit('limitTrainBatches', options.limitTrainBatches ?? 1),
    limitValBatches: resolveLimit('limitValBatches', options.limitValBatches ?? 1),
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
    maxWaitingSaves: atLeast('maxWaitingSaves', options.maxWaitingSaves ?? 1, 0),
  };
  if (fastDevBatches === 0) return settings;
  return {
    ...settings,
    maxEpochs: 1,
    maxSteps: fastDevBatches,
    limitTrainBatches: { count: fastDevBatches },
    limitValBatches: { count: fastDevBatches },
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
  const shown = typeof value === 'string' ? `'${value}'` : String(value);
  throw new MisconfigurationError(`Trainer: ${option} is ${shown}, but it must be ${allowed}.`, {
    details: { option, value },
  });
}

/**
 * The callbacks, with a `ProgressBar` and a `ModelCheckpoint` when there is none and none is forbidden.
 *
 * @throws MisconfigurationError when there is one although `enableCheckpointing` is false.
 */
export function defaultCallbacks(options: TrainerOptions): readonly Callback[] {
  const given = listOf(options.callbacks);
  const isEnabled = options.enableCheckpointing ?? true;
  const hasCheckpoint = given.some(({ isCheckpoint }) => isCheckpoint === true);
  if (hasCheckpoint && !isEnabled) {
    throw new MisconfigurationError(
      'Trainer: enableCheckpointing is false, but there is a ModelCheckpoint among the callbacks. Remove one.',
    );
  }
  const bar = (options.enableProgressBar ?? true) && !given.some(isProgressBar);
  const added = [
    ...(bar ? [new ProgressBar()] : []),
    ...(hasCheckpoint || !isEnabled ? [] : [new ModelCheckpoint()]),
  ];
  return [...given, ...added];
}

const isProgressBar = (callback: Callback): boolean => callback instanceof ProgressBar;

/** The loggers: a `CSVLogger` in `defaultRootDir` unless there are others or none is wanted. */
export function defaultLoggers(options: TrainerOptions): readonly Logger[] {
  const { logger = true } = options;
  if (logger === false) return [];
  if (logger === true)
    return [new CSVLogger({ saveDir: absolutePath(options.defaultRootDir ?? '.') })];
  return listOf(logger);
}

/** Local files. */
export function defaultStorage(): Storage {
  return localFiles();
}

/** A path as everything after the Trainer's options uses it. */
export function absolutePath(path: string): string {
  return absoluteFolder(path, whereabouts());
}

function listOf<T>(given: T | readonly T[] | undefined): readonly T[] {
  if (given === undefined) return [];
  return Array.isArray(given) ? (given as readonly T[]) : [given as T];
}
