import type { Callback } from '../callbacks/callback.ts';
import { ModelCheckpoint } from '../callbacks/model-checkpoint.ts';
import { ModelSummary } from '../callbacks/model-summary.ts';
import { ProgressBar } from '../callbacks/progress-bar.ts';
import type { Duration } from '../checkpoint/duration.ts';
import { absoluteFolder } from '../checkpoint/folder.ts';
import { MisconfigurationError } from '../errors.ts';
import { CSVLogger } from '../loggers/csv.ts';
import type { Logger } from '../loggers/logger.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import { whereabouts } from '../saving/whereabouts.ts';
import { localFiles } from '../storages/local.ts';
import type { Storage } from '../storages/storage.ts';
import { launchOf } from '../strategies/mpi/launcher.ts';
import { mpiStrategy } from '../strategies/mpi/mpi-strategy.ts';
import { singleStrategy } from '../strategies/single.ts';
import type { Strategy } from '../strategies/strategy.ts';

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
  /**
   * Training time at most, resumed runs included: milliseconds, parts or `'DD:HH:MM:SS'`. Training stops after
   * the batch in which it is reached, but not before `minEpochs` and `minSteps` are.
   */
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
  /** Add a `ModelSummary`, which prints the layers when `fit` starts. Default true. */
  readonly enableModelSummary?: boolean | undefined;
  /** Give the module's hyper-parameters to the loggers when `fit` starts. Default true. */
  readonly enableAutologHparams?: boolean | undefined;
  /** Validate every n epochs; null: `valCheckInterval` counts batches across epochs. Default 1. */
  readonly checkValEveryNEpoch?: number | null | undefined;
  /** A fraction in (0, 1] of the epoch, a number of batches above 1, or `{batches: n}`. Default 1.0. */
  readonly valCheckInterval?: ValCheckInterval | undefined;
  /** Batches per training epoch: a fraction in [0, 1], a count above 1, or `{batches: n}`. Default 1: all. */
  readonly limitTrainBatches?: number | { readonly batches: number } | undefined;
  /** The same for each validation loader. */
  readonly limitValBatches?: number | { readonly batches: number } | undefined;
  /** The same for each loader of `test`. */
  readonly limitTestBatches?: number | { readonly batches: number } | undefined;
  /** The same for each loader of `predict`. */
  readonly limitPredictBatches?: number | { readonly batches: number } | undefined;
  /**
   * Train and validate on the same few batches in every epoch, unshuffled, to see whether the model can
   * learn them: an integer of at least 1 is a count, a number in (0, 1) a fraction. Default 0: off.
   */
  readonly overfitBatches?: number | undefined;
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
   * What a failed save does (a full disk, a lost mount): `'throw'` ends `fit` with the error at the next hook;
   * `'warn'` prints it, keeps what was kept, and goes on training. Older checkpoints stay in any case. A
   * folder that cannot be written to when `fit` begins always throws. Default `'throw'`.
   */
  readonly onSaveError?: 'throw' | 'warn' | undefined;
  /**
   * Saves that may wait while one is written; beyond that the hook that saves waits. Each holds a snapshot:
   * at most `1 + maxWaitingSaves` states are kept in memory beside the present one. Default 1.
   */
  readonly maxWaitingSaves?: number | undefined;
  /**
   * The processes that train together. `'auto'` (the default): all that an MPI launcher has started with this
   * one, else this one alone.
   */
  readonly strategy?: 'auto' | Strategy | undefined;
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

const NAMES: OptionNames<TrainerOptions> = {
  maxEpochs: true,
  minEpochs: true,
  maxSteps: true,
  minSteps: true,
  maxTime: true,
  defaultRootDir: true,
  weightsSavePath: true,
  logger: true,
  callbacks: true,
  enableCheckpointing: true,
  enableProgressBar: true,
  enableModelSummary: true,
  enableAutologHparams: true,
  checkValEveryNEpoch: true,
  valCheckInterval: true,
  limitTrainBatches: true,
  limitValBatches: true,
  limitTestBatches: true,
  limitPredictBatches: true,
  overfitBatches: true,
  accumulateGradBatches: true,
  gradientClipVal: true,
  gradientClipAlgorithm: true,
  numSanityValSteps: true,
  logEveryNSteps: true,
  fastDevRun: true,
  seed: true,
  asyncSave: true,
  onSaveError: true,
  maxWaitingSaves: true,
  strategy: true,
  storage: true,
  console: true,
  onHookCompleted: true,
};

/** @throws MisconfigurationError for options that there are not. */
export function checkTrainerOptions(options: TrainerOptions): void {
  checkOptionNames('Trainer', options, NAMES);
}

/**
 * The callbacks, with a `ModelSummary`, a `ProgressBar` and a `ModelCheckpoint` when there is none and none is forbidden.
 *
 * @throws MisconfigurationError when there is one although `enableCheckpointing` is false.
 */
export function defaultCallbacks(
  options: TrainerOptions,
  isGlobalZero: boolean,
): readonly Callback[] {
  // What draws does so on rank 0 alone.
  const isDrawing = (callback: Callback): boolean =>
    isProgressBar(callback) || isModelSummary(callback);
  const given = listOf('callbacks', options.callbacks).filter(
    (each) => isGlobalZero || !isDrawing(each),
  );
  const isEnabled = options.enableCheckpointing ?? true;
  const hasCheckpoint = given.some(({ isCheckpoint }) => isCheckpoint === true);
  if (hasCheckpoint && !isEnabled) {
    throw new MisconfigurationError(
      'Trainer: enableCheckpointing is false, but there is a ModelCheckpoint among the callbacks. Remove one.',
    );
  }
  const bar = (options.enableProgressBar ?? true) && isGlobalZero && !given.some(isProgressBar);
  const isDevRun = options.fastDevRun !== undefined && Number(options.fastDevRun) > 0;
  const isQuiet = isDevRun || !isGlobalZero;
  const summary = (options.enableModelSummary ?? true) && !isQuiet && !given.some(isModelSummary);
  const added = [
    ...(summary ? [new ModelSummary()] : []),
    ...(bar ? [new ProgressBar()] : []),
    ...(hasCheckpoint || !isEnabled ? [] : [new ModelCheckpoint()]),
  ];
  return [...given, ...added];
}

/**
 * The Trainer's callbacks and those of a module, which run after them; one of a class that is there already
 * takes its place.
 */
export function mergeCallbacks(
  own: readonly Callback[],
  given: Callback | readonly Callback[] | undefined,
): readonly Callback[] {
  const added = listOf('configureCallbacks', given);
  const classOf = (callback: Callback): unknown => callback.constructor;
  const classes = new Set(added.map(classOf));
  // Plain objects are of no kind.
  classes.delete(Object);
  return [...own.filter((callback) => !classes.has(classOf(callback))), ...added];
}

const isProgressBar = (callback: Callback): boolean => callback instanceof ProgressBar;
const isModelSummary = (callback: Callback): boolean => callback instanceof ModelSummary;

/** The loggers: a `CSVLogger` in `defaultRootDir` unless there are others or none is wanted. */
export function defaultLoggers(options: TrainerOptions): readonly Logger[] {
  const { logger = true } = options;
  if (logger === false) return [];
  if (logger === true)
    return [new CSVLogger({ saveDir: absolutePath(options.defaultRootDir ?? '.') })];
  return listOf('logger', logger);
}

/** What `strategy` means. @throws MisconfigurationError when it is neither. */
export function resolveStrategy(given: TrainerOptions['strategy'] = 'auto'): Strategy {
  if (typeof given === 'object' && given !== null) return given;
  if (given !== 'auto') {
    refuseOption('Trainer', 'strategy', given, "'auto' or a strategy such as mpiStrategy()");
  }
  // A browser has no environment.
  const { process } = globalThis as { process?: { env?: NodeJS.ProcessEnv } };
  return launchOf(process?.env ?? {}) === undefined ? singleStrategy() : mpiStrategy();
}

/** Local files. */
export function defaultStorage(): Storage {
  return localFiles();
}

/** A path as everything after the Trainer's options uses it. */
export function absolutePath(path: string): string {
  return absoluteFolder(path, whereabouts());
}

function listOf<T extends object>(
  option: string,
  given: T | readonly T[] | null | undefined,
): readonly T[] {
  const list = Array.isArray(given) ? (given as readonly T[]) : given ? [given as T] : [];
  for (const each of list) {
    if (typeof each === 'object' && each !== null) continue;
    refuseOption(
      'Trainer',
      option,
      each,
      'an object or a list of them, such as new ModelCheckpoint()',
    );
  }
  return list;
}
