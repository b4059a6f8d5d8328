import type { Callback } from '../callbacks/callback.ts';
import type {
  Engine,
  EvaluationStage,
  GradientClipping,
  LoadedTensor,
  LoadReport,
  StateEntry,
} from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { DType } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import type { Strategy } from '../strategies/strategy.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { DataSource } from './data-source.ts';
import type { LoadOptions } from './load-weights.ts';
import type { LogOptions, LogValue } from './log-options.ts';
import type { Rng } from './rng.ts';

/** What a module can ask of the Trainer that drives it. */
export interface ModuleHost {
  readonly currentEpoch: number;
  readonly globalStep: number;
  readonly isGlobalZero: boolean;
  readonly strategy: Strategy;
  readonly rng: Rng;
  readonly callbackMetrics: Readonly<Record<string, number>>;
  shouldStop: boolean;
  log(name: string, value: LogValue, options?: LogOptions): void;
}

/** How {@link TrainingModule.saveHyperparameters} stores. */
export interface HyperparameterOptions {
  /** Names that are not stored. */
  readonly ignore?: readonly string[];
  /** Give them to the loggers. Default true. */
  readonly logger?: boolean;
}

const HYPERPARAMETER_NAMES: OptionNames<HyperparameterOptions> = {
  ignore: true,
  logger: true,
};

type Given<T> = T | Promise<T>;

/**
 * A model with its training: what to compute for a batch, how to optimize, what to log. Extend an engine's
 * class (`TfjsModule` from `highwater/tfjs`), not this one, unless you bring your own engine.
 *
 * Every `on…` method is optional and may be async. They run after the callbacks' hooks of the same name,
 * and before checkpoint callbacks look at the step.
 */
export abstract class TrainingModule<Batch = unknown> implements Engine {
  #host: ModuleHost | undefined;
  #hparams: JsonObject = {};
  #logsHparams = true;

  // What users write ---------------------------------------------------------------------------------

  // What the steps are given is the engine's to say: a batch, and what else it needs.
  /** Forward pass and loss of one batch. */
  abstract trainingStep(...given: never[]): unknown;
  /** One validation batch: what is to be monitored. */
  validationStep?(...given: never[]): unknown;
  /** One test batch, for `trainer.test`. */
  testStep?(...given: never[]): unknown;
  /** One prediction, for `trainer.predict`; what it returns is collected. */
  predictStep?(...given: never[]): unknown;
  /**
   * The optimizer (the engine's own kind), or `{optimizer, lrScheduler}` with an `LRScheduler` or an
   * `LRSchedulerConfig`. Called once per `fit`, before a checkpoint is restored.
   */
  abstract configureOptimizers(): unknown;

  // Each may be async.
  trainDataloader?(): Given<DataSource<Batch>>;
  valDataloader?(): Given<DataSource<Batch> | readonly DataSource<Batch>[]>;
  testDataloader?(): Given<DataSource<Batch> | readonly DataSource<Batch>[]>;
  predictDataloader?(): Given<DataSource<Batch> | readonly DataSource<Batch>[]>;
  /** Further callbacks, which run after the Trainer's own; one of a kind that is there takes its place. */
  configureCallbacks?(): Callback | readonly Callback[];

  /** Downloads and the like, before {@link setup}; on one process only. */
  prepareData?(): unknown;

  setup?(stage: 'fit' | 'validate' | 'test' | 'predict'): unknown;
  teardown?(stage: 'fit' | 'validate' | 'test' | 'predict'): unknown;
  /** Before {@link configureOptimizers}: the last moment to freeze weights for a whole `fit`. */
  onBeforeOptimizerSetup?(): unknown;
  onFitStart?(): unknown;
  onFitEnd?(): unknown;
  onTrainStart?(): unknown;
  onTrainEnd?(): unknown;
  onTrainEpochStart?(): unknown;
  onTrainEpochEnd?(): unknown;
  /** Return -1 to skip this batch and the rest of the epoch. */
  onTrainBatchStart?(batch: Batch, batchIdx: number): unknown;
  onTrainBatchEnd?(outputs: unknown, batch: Batch, batchIdx: number): unknown;
  /** Gradients of a batch have been added to the pending ones. */
  onAfterBackward?(): unknown;
  onBeforeOptimizerStep?(): unknown;
  onValidationStart?(): unknown;
  onValidationEnd?(): unknown;
  onValidationEpochStart?(): unknown;
  onValidationEpochEnd?(): unknown;
  onValidationBatchStart?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  onValidationBatchEnd?(
    outputs: unknown,
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  onTestStart?(): unknown;
  onTestEnd?(): unknown;
  onTestEpochStart?(): unknown;
  onTestEpochEnd?(): unknown;
  onTestBatchStart?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  onTestBatchEnd?(outputs: unknown, batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  onPredictStart?(): unknown;
  onPredictEnd?(): unknown;
  onPredictEpochStart?(): unknown;
  onPredictEpochEnd?(): unknown;
  onPredictBatchStart?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  onPredictBatchEnd?(
    outputs: unknown,
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  /** Adds to a checkpoint about to be written: JSON values, typed arrays and tensors, nested. */
  onSaveCheckpoint?(checkpoint: Checkpoint): unknown;
  /** Reads what `onSaveCheckpoint` added, before the weights are restored. */
  onLoadCheckpoint?(checkpoint: Checkpoint): unknown;

  // What the base class gives them --------------------------------------------------------------------

  /** The Trainer this module is attached to. @throws MisconfigurationError outside `fit` and its kin. */
  get trainer(): ModuleHost {
    if (this.#host === undefined) {
      throw new MisconfigurationError(
        `${this.constructor.name} is not attached to a Trainer yet: 'trainer', 'log' and 'rng' work inside ` +
          `the hooks that 'trainer.fit(module)' calls.`,
      );
    }
    return this.#host;
  }

  /** 0-based index of the current epoch; 0 before training. */
  get currentEpoch(): number {
    return this.#host?.currentEpoch ?? 0;
  }

  /** Optimizer steps taken so far. */
  get globalStep(): number {
    return this.#host?.globalStep ?? 0;
  }

  /** Random numbers whose state is part of every checkpoint. Pass `rng.nextSeed()` to seeded operations. */
  get rng(): Rng {
    return this.trainer.rng;
  }

  /** The hyper-parameters given to {@link saveHyperparameters}. */
  get hparams(): JsonObject {
    return this.#hparams;
  }

  /**
   * Stores the constructor's argument in every checkpoint, so that `loadFromCheckpoint` can build the
   * module again. JSON values only. Call it in the constructor.
   */
  saveHyperparameters<Given extends Record<keyof Given, JsonObject[string]>>(
    hyperParameters: Given,
    options: HyperparameterOptions = {},
  ): void {
    checkOptionNames('saveHyperparameters', options, HYPERPARAMETER_NAMES);
    const { ignore = [], logger = true } = options;
    const all: JsonObject = { ...hyperParameters };
    const kept = Object.entries(all).filter(([name]) => !ignore.includes(name));
    this.#hparams = { ...this.#hparams, ...Object.fromEntries(kept) };
    this.#logsHparams &&= logger;
  }

  /** Whether the loggers get the hyper-parameters: not after `saveHyperparameters(…, {logger: false})`. */
  get logsHparams(): boolean {
    return this.#logsHparams;
  }

  /**
   * Builds a module from a checkpoint: the constructor gets the stored hyper-parameters, with `overrides`
   * put over them, then the weights are loaded, after `onLoadCheckpoint`. Works with full and weights-only checkpoints, and with plain
   * safetensors files when `overrides` hold all the constructor needs.
   *
   * @param options `strict: false` loads what fits by name and shape, for fine-tuning; see
   * {@link leftOutByLoad}.
   * @throws HighwaterError (`CHECKPOINT_NOT_FOUND`), CheckpointFileError (`CHECKPOINT_INVALID`),
   * CheckpointMismatchError (`CHECKPOINT_MISMATCH`) listing every difference.
   */
  static async loadFromCheckpoint<
    Module extends TrainingModule,
    HyperParameters extends object | undefined,
  >(
    this: new (
      hyperParameters: HyperParameters,
    ) => Module,
    path: string,
    overrides: Partial<NonNullable<HyperParameters>> = {},
    options: LoadOptions = {},
  ): Promise<Module> {
    const { LOAD_NAMES, loadWeights, openCheckpoint, storedHyperparameters } = await import(
      './load-weights.ts'
    );
    checkOptionNames('loadFromCheckpoint', options, LOAD_NAMES);
    const { storage } = options;
    const reader = await openCheckpoint(path, storage === undefined ? {} : { storage });
    const module = new this({ ...storedHyperparameters(reader), ...overrides } as HyperParameters);
    const { missing, unexpected } = await loadWeights(module, reader, options);
    module.#leftOut = [...missing, ...unexpected];
    return module;
  }

  #leftOut: readonly string[] = [];

  /** What a {@link loadFromCheckpoint} with `strict: false` left out; empty when everything fitted. */
  get leftOutByLoad(): readonly string[] {
    return this.#leftOut;
  }

  /**
   * Logs a metric: a number or a scalar tensor, which is read only when something needs its value.
   * In training steps it is logged per step, elsewhere per epoch (a mean weighted by `batchSize`), unless
   * `onStep` and `onEpoch` say otherwise. NaN is a value like any other.
   *
   * @throws MisconfigurationError when the value is neither, or the name is empty.
   */
  log(name: string, value: LogValue, options: LogOptions = {}): void {
    this.trainer.log(name, value, options);
  }

  /** {@link log} for several metrics at once. */
  logDict(metrics: Readonly<Record<string, LogValue>>, options: LogOptions = {}): void {
    for (const [name, value] of Object.entries(metrics)) this.log(name, value, options);
  }

  /** Called by the Trainer; undefined detaches. */
  attach(host: ModuleHost | undefined): void {
    this.#host = host;
  }

  /** See {@link Engine.learningRate}: an engine whose optimizers have a rate that can change overrides it. */
  get learningRate(): number | undefined {
    return undefined;
  }
  set learningRate(rate: number) {
    throw new MisconfigurationError(
      `${this.constructor.name}: the learning rate cannot be set to ${rate}: this engine does not know it.`,
    );
  }

  // What an engine implements, see Engine -------------------------------------------------------------

  abstract readonly engineName: string;
  abstract setupOptimizers(): unknown;
  abstract trainStep(batch: Batch, batchIdx: number, scale: number): unknown;
  replaceGradients?(gradients: readonly LoadedTensor[]): void | Promise<void>;
  abstract optimizerStep(clipping: GradientClipping | undefined): void | Promise<void>;
  abstract evalStep(
    stage: EvaluationStage,
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;
  abstract state(): Iterable<StateEntry>;
  abstract meta(): JsonObject;
  abstract load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    options: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport | Promise<LoadReport>;
  abstract isTensor(value: unknown): boolean;
  abstract describe(handle: unknown): { readonly dtype: DType; readonly shape: readonly number[] };
  abstract retain(handle: unknown): unknown;
  isUnchanged?(handle: unknown, retained: unknown): boolean;
  abstract release(handle: unknown): void;
  abstract read(handle: unknown): Promise<Uint8Array>;
  abstract readScalar(handle: unknown): number | Promise<number>;
  abstract dispose(): void;
}
