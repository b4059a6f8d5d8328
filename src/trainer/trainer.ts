import type { Callback } from '../callbacks/callback.ts';
import type { ValidationSchedule } from '../checkpoint/triggers.ts';
import { MisconfigurationError } from '../errors.ts';
import type { Logger } from '../loggers/logger.ts';
import type { Checkpointing } from './checkpointing.ts';
import type { DataSource } from './data-source.ts';
import { FitRun } from './fit-run.ts';
import type { LogOptions, LogValue } from './metrics.ts';
import {
  defaultCallbacks,
  type MessageSink,
  resolveSettings,
  type TrainerOptions,
  type TrainerSettings,
} from './options.ts';
import { type Progress, START } from './progress.ts';
import type { Rng } from './rng.ts';
import type { ModuleHost, TrainingModule } from './training-module.ts';

/** What `trainer.fit(module, options)` takes. */
export interface FitOptions {
  /** Training data; default: the module's `trainDataloader()`. */
  readonly trainDataloaders?: DataSource | undefined;
  /**
   * Validation data; default: the module's `valDataloader()`, else none. An array of DataLoaders is several
   * sources; an array of anything else is one, of which the elements are the batches.
   */
  readonly valDataloaders?: DataSource | readonly DataSource[] | undefined;
  /**
   * Resume: a path; `'last'`, the newest whole checkpoint of this run's folders, or a fresh start when
   * there is none; `'best'`, the best that the newest state names.
   */
  readonly ckptPath?: string | null | undefined;
  /** When aborted, training finishes the present step, saves, and `fit` rejects with an `AbortError`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Trains a module: runs its steps and hooks in Lightning's order, logs, validates, and lets checkpoint
 * callbacks save behind training.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) from the constructor for every option that cannot be.
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.Trainer`.
 */
export class Trainer implements ModuleHost {
  readonly settings: TrainerSettings;
  readonly callbacks: readonly Callback[];
  readonly defaultRootDir: string;
  /** Set it to end training after the present step; heeded once `minEpochs` and `minSteps` are reached. */
  shouldStop = false;
  /** The file the present run was resumed from. */
  resumedFrom: string | undefined;
  readonly #options: TrainerOptions;
  readonly #console: MessageSink;
  readonly #warned = new Set<string>();
  #run: FitRun | undefined;
  #progress: Progress = START;
  #sequence = 0;

  constructor(options: TrainerOptions = {}) {
    this.#options = options;
    this.settings = resolveSettings(options);
    this.defaultRootDir = options.defaultRootDir ?? '.';
    this.callbacks = defaultCallbacks(options);
    this.#console = options.console ?? console;
  }

  /** 0-based index of the current epoch; once training has ended, the number of finished epochs. */
  get currentEpoch(): number {
    return this.#run?.sanityEpoch ?? (this.#run?.loop?.progress ?? this.#progress).epoch;
  }
  /** Optimizer steps taken. */
  get globalStep(): number {
    return (this.#run?.loop?.progress ?? this.#progress).globalStep;
  }
  /** Whether this process is the one that saves. */
  get isGlobalZero(): boolean {
    return true;
  }
  /** The last value of every metric that can be read at once. */
  get callbackMetrics(): Readonly<Record<string, number>> {
    return this.#run?.metrics.values() ?? this.#lastMetrics;
  }
  #lastMetrics: Readonly<Record<string, number>> = {};
  /** The metrics logged with `progBar`. */
  get progressBarMetrics(): Readonly<Record<string, number>> {
    return this.#run?.metrics.values(({ progBar }) => progBar) ?? {};
  }
  /** Batches completed in the current epoch of training. */
  get batchesInEpoch(): number {
    return (this.#run?.loop?.progress ?? this.#progress).batchesInEpoch;
  }
  /** Batches of a training epoch; Infinity when the data has no length and no limit. */
  get numTrainingBatches(): number {
    return this.#active.trainBatches;
  }
  /** Batches of each validation loader. */
  get numValBatches(): readonly number[] {
    return this.#active.valLimits;
  }
  /** Whether the validation that runs is the check before training. */
  get sanityChecking(): boolean {
    return this.#active.sanityChecking;
  }
  get loggers(): readonly Logger[] {
    return this.#run?.loggers ?? [];
  }
  get rng(): Rng {
    return this.#active.rng;
  }
  /** What checkpoint callbacks work with. */
  get checkpointing(): Checkpointing {
    return this.#active.checkpointing;
  }
  get checkpointCallbacks(): readonly Callback[] {
    return this.callbacks.filter(({ isCheckpoint }) => isCheckpoint === true);
  }
  /** How validation is scheduled, for callbacks. */
  get validationSchedule(): ValidationSchedule {
    const { checkValEveryNEpoch, valCheckInterval } = this.settings;
    return {
      checkValEveryNEpoch,
      isOncePerEpoch: 'fraction' in valCheckInterval && valCheckInterval.fraction === 1,
      hasValidation: this.#active.hasValidation,
    };
  }

  log(name: string, value: LogValue, options: LogOptions = {}): void {
    const { metrics, scope } = this.#active;
    if (scope === undefined) {
      throw new MisconfigurationError(`log('${name}'): nothing can be logged in this hook.`);
    }
    metrics.log(name, value, options, scope);
  }

  /** Prints a message. */
  info(message: string): void {
    for (const callback of this.callbacks) callback.onMessage?.();
    this.#console.info(message);
  }
  /** Prints a warning, the same one only once. */
  warnOnce(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    for (const callback of this.callbacks) callback.onMessage?.();
    this.#console.warn(message);
  }

  /**
   * Saves the present state to a path; resolves when it is durable. Only inside `fit`.
   *
   * @throws HighwaterError (`SAVE_FAILED`) with the cause.
   */
  async saveCheckpoint(
    path: string,
    options: { readonly weightsOnly?: boolean } = {},
  ): Promise<void> {
    await this.#active.checkpointing.saveFile(path, options.weightsOnly ?? false);
  }

  /** Resolves when every save so far is durable. */
  async flush(): Promise<void> {
    await this.#run?.checkpointing.flush();
  }

  /**
   * Trains until a limit is reached. Resolves when everything is saved and durable.
   *
   * @throws MisconfigurationError before any training; HighwaterError (`HOOK_FAILED`) when user code threw;
   * HighwaterError (`SAVE_FAILED`) when a save failed.
   */
  async fit(module: TrainingModule, options: FitOptions = {}): Promise<void> {
    if (this.#run !== undefined)
      throw new MisconfigurationError('Trainer.fit: a fit is running already.');
    const run = new FitRun(this, module, options, this.settings, this.#options, this.#sequence);
    this.#run = run;
    this.shouldStop = false;
    module.attach(this);
    try {
      await run.fit(this.#progress);
    } finally {
      this.#progress = run.loop?.progress ?? this.#progress;
      this.#sequence = run.sequence;
      this.#lastMetrics = run.metrics.values();
      await run.close();
      this.#run = undefined;
      module.attach(undefined);
    }
  }

  get #active(): FitRun {
    if (this.#run === undefined) {
      throw new MisconfigurationError('Trainer: this works only while fit is running.');
    }
    return this.#run;
  }
}
