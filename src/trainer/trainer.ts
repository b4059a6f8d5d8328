import type { Callback, Stage } from '../callbacks/callback.ts';
import type { ValidationSchedule } from '../checkpoint/triggers.ts';
import { MisconfigurationError } from '../errors.ts';
import type { Logger } from '../loggers/logger.ts';
import { checkOptionNames } from '../option-check.ts';
import type { Strategy } from '../strategies/strategy.ts';
import {
  checkFitOptions,
  EVALUATION_NAMES,
  type EvaluationOptions,
  type FitOptions,
} from './call-options.ts';
import { checkModule } from './check-module.ts';
import type { Checkpointing } from './checkpointing.ts';
import { type EvaluationResult, EvaluationRun } from './evaluation-run.ts';
import { FitRun } from './fit-run.ts';
import type { LearningRateSchedule } from './learning-rate.ts';
import type { LogOptions, LogValue } from './log-options.ts';
import {
  checkTrainerOptions,
  defaultCallbacks,
  defaultLoggers,
  type MessageSink,
  mergeCallbacks,
  resolveStrategy,
  type TrainerOptions,
} from './options.ts';
import type { Progress } from './progress.ts';
import { Ranks } from './ranks.ts';
import type { Rng } from './rng.ts';
import type { Run } from './run.ts';
import { resolveSettings, type TrainerSettings } from './settings.ts';
import type { ModuleHost, TrainingModule } from './training-module.ts';
import { type Standing, UNTRAINED } from './training-state.ts';

/** Metrics by loader, then by name. */
export type LoaderMetrics = readonly Readonly<Record<string, number>>[];

/**
 * Trains a module: runs its steps and hooks in Lightning's order, logs, validates, and lets checkpoint
 * callbacks save behind training.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) from the constructor for every option that cannot be.
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.Trainer`.
 */
export class Trainer implements ModuleHost {
  readonly settings: TrainerSettings;
  /** The processes that train together. */
  readonly strategy: Strategy;
  readonly ranks: Ranks;
  /** Its loggers, the first of which says where checkpoints go; none on other ranks than 0. */
  readonly loggers: readonly Logger[];
  readonly defaultRootDir: string;
  /** Set it to end training after the present step; heeded once `minEpochs` and `minSteps` are reached. */
  shouldStop = false;
  /** The file the present run was resumed from. */
  resumedFrom: string | undefined;
  readonly #options: TrainerOptions;
  readonly #console: MessageSink;
  readonly #warned = new Set<string>();
  readonly #ownCallbacks: readonly Callback[];
  #callbacks: readonly Callback[];
  #run: Run | undefined;
  #standing: Standing = UNTRAINED;
  /** The module of the last call. */
  #module: TrainingModule | undefined;

  constructor(options: TrainerOptions = {}) {
    checkTrainerOptions(options);
    this.#options = options;
    this.settings = resolveSettings(options);
    this.defaultRootDir = options.defaultRootDir ?? '.';
    this.strategy = resolveStrategy(options.strategy);
    this.ranks = new Ranks(this.strategy);
    this.#ownCallbacks = defaultCallbacks(options, this.isGlobalZero);
    this.#callbacks = this.#ownCallbacks;
    const isLogging = this.isGlobalZero && !this.settings.fastDevRun;
    this.loggers = isLogging ? defaultLoggers(options) : [];
    this.#console = options.console ?? console;
  }

  /** The callbacks in the order they run in, those of the module that is attached included. */
  get callbacks(): readonly Callback[] {
    return this.#callbacks;
  }
  /** The first of the {@link loggers}. */
  get logger(): Logger | undefined {
    return this.loggers[0];
  }
  /** 0-based index of the current epoch; once training has ended, the number of finished epochs. */
  get currentEpoch(): number {
    return this.#run?.sanityEpoch ?? this.#progress.epoch;
  }
  /** Optimizer steps taken. */
  get globalStep(): number {
    return this.#progress.globalStep;
  }
  get #progress(): Progress {
    return this.#run?.progress ?? this.#standing.progress;
  }
  /** Whether this process is the one that decides, saves, logs and prints. */
  get isGlobalZero(): boolean {
    return this.strategy.isGlobalZero;
  }
  /** The last value of every metric that can be read at once. */
  get callbackMetrics(): Readonly<Record<string, number>> {
    return this.#run?.metrics.values() ?? this.#lastMetrics.callback;
  }
  /** Of the last call, when nothing runs. */
  #lastMetrics: Readonly<
    Record<'callback' | 'logged' | 'progressBar', Readonly<Record<string, number>>>
  > = { callback: {}, logged: {}, progressBar: {} };
  /** The metrics that go to the loggers. */
  get loggedMetrics(): Readonly<Record<string, number>> {
    return this.#run?.metrics.values(({ logger }) => logger) ?? this.#lastMetrics.logged;
  }
  /** The metrics logged with `progBar`. */
  get progressBarMetrics(): Readonly<Record<string, number>> {
    return this.#run?.metrics.values(({ progBar }) => progBar) ?? this.#lastMetrics.progressBar;
  }
  /** Batches completed in the current epoch of training. */
  get batchesInEpoch(): number {
    return this.#progress.batchesInEpoch;
  }
  /** Batches of a training epoch; Infinity when the data has no length and no limit. */
  get numTrainingBatches(): number {
    return this.#active.trainBatches;
  }
  /** Batches of each validation loader; in `test` and `predict` of each loader of theirs. */
  get numValBatches(): readonly number[] {
    return this.#active.evaluationBatches;
  }
  /** What is running, if anything is. */
  get stage(): Stage | undefined {
    return this.#run?.stage;
  }
  /** The optimizer's rate; undefined outside `fit` and when the engine does not know it. */
  get learningRate(): number | undefined {
    return this.#run?.stage === 'fit' ? this.#module?.learningRate : undefined;
  }
  /** What its schedule is called, and where it moves on. */
  get learningRateSchedule(): LearningRateSchedule {
    return this.#active.schedule;
  }
  /** Saves that are not durable yet; 0 on all ranks but rank 0, so let no rank wait for others by it. */
  get pendingSaves(): number {
    return this.#run?.checkpointing?.pendingSaves ?? 0;
  }
  /** The best file of the first checkpoint callback that has one; else empty. */
  get bestModelPath(): string {
    const owners = this.checkpointCallbacks as readonly { readonly bestModelPath?: string }[];
    return owners.map(({ bestModelPath = '' }) => bestModelPath).find(Boolean) ?? '';
  }
  /** Whether the validation that runs is the check before training. */
  get sanityChecking(): boolean {
    return this.#active.sanityChecking;
  }
  get rng(): Rng {
    return this.#active.rng;
  }
  /** What checkpoint callbacks work with. */
  get checkpointing(): Checkpointing {
    const { checkpointing } = this.#active;
    if (checkpointing !== undefined) return checkpointing;
    throw new MisconfigurationError('Trainer: checkpoints are saved only while fit is running.');
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
      whyUnvalidated: this.#active.whyUnvalidated,
    };
  }

  log(name: string, value: LogValue, options: LogOptions = {}): void {
    const { metrics, scope } = this.#active;
    if (scope === undefined) {
      throw new MisconfigurationError(`log('${name}'): nothing can be logged in this hook.`);
    }
    metrics.log(name, value, options, scope);
  }

  /** Prints a message, on rank 0. */
  info(message: string): void {
    if (!this.isGlobalZero) return;
    for (const callback of this.callbacks) callback.onMessage?.();
    this.#console.info(message);
  }
  /** Prints a warning, the same one only once, on rank 0. */
  warnOnce(message: string): void {
    if (!this.isGlobalZero || this.#warned.has(message)) return;
    this.#warned.add(message);
    for (const callback of this.callbacks) callback.onMessage?.();
    this.#console.warn(message);
  }

  /**
   * Saves the present state to a path; resolves when it is durable. Only inside `fit`, and on every rank.
   *
   * A resume from it is exact: of a file that a hook saves, it begins with what the loop was doing by then, and that
   * hook runs again: the batch (without its gradients), its `onTrainBatchEnd`, the validation, its `onValidationEnd`,
   * the epoch's start or end. After `onTrainBatchEnd` of a batch that was over, the hook's `loss` is a number.
   *
   * @throws HighwaterError (`SAVE_FAILED`) with the cause.
   */
  async saveCheckpoint(
    path: string,
    options: { readonly weightsOnly?: boolean } = {},
  ): Promise<void> {
    checkOptionNames('Trainer.saveCheckpoint', options, { weightsOnly: true });
    await this.checkpointing.saveFile(path, options.weightsOnly ?? false);
  }

  /** Resolves when every save so far is durable. On every rank, but for what rank 0 alone runs, such as a logger's methods. */
  async flush(): Promise<void> {
    await this.#run?.checkpointing?.flush();
  }

  /**
   * Trains until a limit is reached. Resolves when everything is saved and durable.
   *
   * @throws MisconfigurationError before any training; HighwaterError (`HOOK_FAILED`) when user code threw;
   * HighwaterError (`SAVE_FAILED`) when a save failed.
   */
  async fit(module: TrainingModule, options: FitOptions = {}): Promise<void> {
    this.#refuseSecond('fit');
    await this.ranks.during(async () => {
      checkModule('fit', module);
      checkFitOptions(options);
      await this.#attach(module);
      const run = new FitRun(this, module, options, this.#options, this.#standing);
      this.shouldStop = false;
      await this.#during(run, module, async () => {
        try {
          await run.fit();
        } finally {
          this.#standing = run.standing;
        }
      });
    });
  }

  /**
   * Runs the module's validation once.
   *
   * @param module default: that of the last call on this Trainer.
   * @returns the metrics, one record for each loader.
   * @throws MisconfigurationError before anything runs; HighwaterError (`HOOK_FAILED`) when user code threw.
   */
  async validate(module?: TrainingModule, options: EvaluationOptions = {}): Promise<LoaderMetrics> {
    return (await this.#evaluate('validate', module, options)).metrics;
  }

  /** {@link validate} with the module's `testStep`. */
  async test(module?: TrainingModule, options: EvaluationOptions = {}): Promise<LoaderMetrics> {
    return (await this.#evaluate('test', module, options)).metrics;
  }

  /**
   * Collects what the module's `predictStep` returns. Tensors among it are the caller's to dispose of.
   *
   * With several ranks each has the predictions of its own share of every batch, and none of a batch of which it has no
   * share: batch by batch, and in each rank by rank, they are those of one process. `trainer.strategy.gather` puts
   * together what is JSON.
   *
   * @returns the predictions of each batch; with several loaders a list of these for each.
   * @throws as {@link validate}.
   */
  async predict(
    module?: TrainingModule,
    options: EvaluationOptions = {},
  ): Promise<readonly unknown[]> {
    const { predictions } = await this.#evaluate('predict', module, options);
    return predictions.length === 1 ? (predictions[0] ?? []) : predictions;
  }

  async #evaluate(
    stage: Exclude<Stage, 'fit'>,
    given: TrainingModule | undefined,
    options: EvaluationOptions,
  ): Promise<EvaluationResult> {
    this.#refuseSecond(stage);
    const module = given ?? this.#module;
    if (module === undefined) {
      throw new MisconfigurationError(
        `Trainer.${stage}: no module is given, and there is none of an earlier call on this Trainer.`,
      );
    }
    return await this.ranks.during(() => this.#evaluateTogether(stage, given, module, options));
  }

  async #evaluateTogether(
    stage: Exclude<Stage, 'fit'>,
    given: TrainingModule | undefined,
    module: TrainingModule,
    options: EvaluationOptions,
  ): Promise<EvaluationResult> {
    checkModule(stage, module);
    checkOptionNames(`Trainer.${stage}`, options, EVALUATION_NAMES);
    const isBest = given === undefined && options.ckptPath === undefined && this.bestModelPath;
    await this.#attach(module);
    const { progress } = this.#standing;
    const run = new EvaluationRun(stage, this, module, this.#options, progress);
    return await this.#during(run, module, async () => {
      const result = await run.run(isBest ? { ...options, ckptPath: 'best' } : options);
      if (stage !== 'predict' && (options.verbose ?? true)) this.#print(stage, result);
      return result;
    });
  }

  #print(stage: Stage, { metrics }: EvaluationResult): void {
    for (const [index, values] of metrics.entries()) {
      const shown = Object.entries(values).map(([name, value]) => `${name}=${value}`);
      const loader = metrics.length > 1 ? ` of loader ${index}` : '';
      this.info(`${stage}${loader}: ${shown.join(' ') || 'nothing was logged'}`);
    }
  }

  #refuseSecond(stage: Stage): void {
    if (this.#run === undefined) return;
    throw new MisconfigurationError(`Trainer.${stage}: ${this.#run.stage} is running already.`);
  }

  /** The module's own callbacks run with those of the Trainer. */
  async #attach(module: TrainingModule): Promise<void> {
    this.#callbacks = mergeCallbacks(this.#ownCallbacks, module.configureCallbacks?.());
  }

  async #during<T>(run: Run, module: TrainingModule, work: () => Promise<T>): Promise<T> {
    this.#run = run;
    this.#module = module;
    module.attach(this);
    try {
      return await work();
    } finally {
      try {
        const { callbackMetrics, loggedMetrics, progressBarMetrics } = this;
        this.#lastMetrics = {
          callback: callbackMetrics,
          logged: loggedMetrics,
          progressBar: progressBarMetrics,
        };
        await run.close();
      } finally {
        this.#run = undefined;
        module.attach(undefined);
      }
    }
  }

  get #active(): Run {
    if (this.#run === undefined) {
      throw new MisconfigurationError(
        'Trainer: this works only while fit, validate, test or predict is running.',
      );
    }
    return this.#run;
  }
}
