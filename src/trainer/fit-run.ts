import { isInside } from '../checkpoint/folder.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import type { Logger } from '../loggers/logger.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { type CheckpointFolder, finishSave } from '../saving/recovery.ts';
import { Saver } from '../saving/saver.ts';
import type { Snapshot } from '../saving/snapshot.ts';
import { isExactlyResumable } from './batch-feed.ts';
import { captureCheckpoint } from './checkpoint-content.ts';
import { describeCost } from './checkpoint-cost.ts';
import { newerFiles, prepareFolders } from './checkpoint-folders.ts';
import { Checkpointing, type CheckpointOwner } from './checkpointing.ts';
import { type DataSource, dataSources } from './data-source.ts';
import { runValidation } from './evaluation-loop.ts';
import {
  findCheckpoint,
  loggerRun,
  type ResumeSource,
  type SearchPlaces,
} from './find-checkpoint.ts';
import { type FitContext, FitLoop, Interrupted } from './fit-loop.ts';
import { Hooks } from './hooks.ts';
import { type LogScope, MetricStore } from './metrics.ts';
import {
  defaultLoggers,
  defaultStorage,
  type ObservedHook,
  type TrainerOptions,
  type TrainerSettings,
} from './options.ts';
import { type Progress, START } from './progress.ts';
import { restoreCheckpoint } from './restore.ts';
import { Rng } from './rng.ts';
import { RunFolders } from './run-folders.ts';
import { batchCount, planValidation } from './schedule.ts';
import type { FitOptions, Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';
import { withoutTrace } from './without-trace.ts';

/** One call of `fit`: sets up, restores, trains, and leaves everything durable whatever happens. */
export class FitRun {
  readonly metrics: MetricStore;
  readonly rng: Rng;
  readonly checkpointing: Checkpointing;
  readonly loggers: readonly Logger[];
  /** Batches of a training epoch, and of each validation loader. */
  readonly trainBatches: number;
  readonly valLimits: readonly number[];
  readonly hasValidation: boolean;
  sanityChecking = false;
  scope: LogScope | undefined;
  loop: FitLoop | undefined;
  sequence: number;
  /** The epoch that a sanity check after a resume reports: the checkpoint's, as Lightning does. */
  sanityEpoch: number | undefined;
  #maySave = false;
  readonly #trainer: Trainer;
  readonly #module: TrainingModule;
  readonly #fit: FitOptions;
  readonly #settings: TrainerSettings;
  readonly #options: TrainerOptions;
  readonly #hooks: Hooks;
  readonly #train: DataSource;
  readonly #val: readonly DataSource[];
  readonly #owners: readonly CheckpointOwner[];
  readonly #runFolders: RunFolders;

  constructor(
    trainer: Trainer,
    module: TrainingModule,
    fit: FitOptions,
    settings: TrainerSettings,
    options: TrainerOptions,
    sequence: number,
  ) {
    this.#trainer = trainer;
    this.#module = module;
    this.#fit = fit;
    this.#settings = settings;
    this.#options = options;
    this.sequence = sequence;
    this.metrics = new MetricStore(module);
    this.rng = new Rng(settings.seed);
    this.#hooks = new Hooks(trainer, module, trainer.callbacks);
    this.loggers = settings.fastDevRun ? [] : defaultLoggers(options);
    const train = fit.trainDataloaders ?? module.trainDataloader?.();
    if (train === undefined) {
      throw new MisconfigurationError(
        `Trainer.fit: there is no training data. Pass {trainDataloaders} or give ${module.constructor.name} a ` +
          `trainDataloader() method.`,
      );
    }
    this.#train = train;
    this.trainBatches = batchCount('limitTrainBatches', train, settings.limitTrainBatches);
    this.#val =
      module.validationStep === undefined
        ? []
        : dataSources(fit.valDataloaders ?? module.valDataloader?.());
    this.valLimits = this.#val.map((source) =>
      batchCount('limitValBatches', source, settings.limitValBatches),
    );
    this.hasValidation = this.valLimits.some((limit) => limit > 0);
    this.#owners = trainer.checkpointCallbacks as unknown as readonly CheckpointOwner[];
    this.#runFolders = new RunFolders(options, this.loggers[0], this.#owners);
    const storage = options.storage ?? defaultStorage();
    const saver = new Saver({ storage, maxWaiting: settings.maxWaitingSaves });
    this.checkpointing = new Checkpointing(
      {
        owners: this.#owners,
        moment: (hook, elapsedMs) => ({
          hook,
          epoch: trainer.currentEpoch,
          globalStep: trainer.globalStep,
          tookStep: this.loop?.progress.tookStep ?? false,
          elapsedMs,
          hasValidated: !this.hasValidation || (this.loop?.progress.validations ?? 0) > 0,
        }),
        readings: () => this.metrics.readings(trainer.globalStep),
        capture: () => this.#capture(),
        announce: async (owner) => {
          for (const logger of this.loggers) await logger.afterSaveCheckpoint?.(owner as never);
        },
        position: () => ({ epoch: trainer.currentEpoch, globalStep: trainer.globalStep }),
        maySave: () => this.#maySave,
      },
      storage,
      saver,
      !settings.asyncSave,
    );
  }

  async fit(progress: Progress): Promise<void> {
    const { trainBatches } = this;
    if (this.#train.length === 0) {
      throw new MisconfigurationError('Trainer.fit: the training data is empty: its length is 0.');
    }
    const plan = planValidation(this.#settings, trainBatches, this.hasValidation);
    const { ckptPath } = this.#fit;
    const found = ckptPath ? await findCheckpoint(ckptPath, this.#places) : undefined;
    await this.#beginLoggers(found);
    this.checkpointing.defaultFolder =
      found?.defaultFolder ?? this.#runFolders.defaultFolder() ?? '';
    await this.#setUp();
    await this.#module.setupOptimizers();
    const context: FitContext = {
      module: this.#module,
      settings: this.#settings,
      hooks: this.#hooks,
      metrics: this.metrics,
      rng: this.rng,
      checkpointing: this.checkpointing,
      loggers: this.loggers,
      train: { source: this.#train, batches: trainBatches },
      validation: { sources: this.#val, limits: this.valLimits },
      plan,
      signal: this.#fit.signal,
      shouldStop: () => this.#trainer.shouldStop,
      setScope: (scope) => {
        this.scope = scope;
      },
      completed: (hook, info = {}) => this.#completed(hook, info),
    };
    const restored = found === undefined ? undefined : await this.#restore(found.reader);
    const from = restored?.progress ?? progress;
    const isEnd = from.next === 'finished';
    // A finished run goes on when its limits were raised.
    const loop = new FitLoop(context, isEnd ? { ...from, next: 'epochStart' } : from);
    this.loop = loop;
    const { isNothingLeft } = loop;
    if (restored !== undefined && found !== undefined) {
      const suffix = isNothingLeft ? '; nothing left to train' : '';
      this.#trainer.info(`resumed from ${found.reader.path}${suffix}`);
    }
    if (isNothingLeft && restored?.progress.next === 'epochStart') await this.#closeRun(loop);
    if (isNothingLeft || trainBatches === 0) return;
    await this.#trainAndFinish(context, loop);
  }

  /** The saves of a train end that a crash has prevented; none when the run had ended. */
  async #closeRun(loop: FitLoop): Promise<void> {
    this.#maySave = !this.#settings.fastDevRun;
    await loop.saveTrainEnd();
    await this.checkpointing.flush();
  }

  async #trainAndFinish(context: FitContext, loop: FitLoop): Promise<void> {
    let status: 'success' | 'failed' = 'failed';
    try {
      await this.#hooks.run('onFitStart');
      if (loop.progress.next === 'epochStart') await this.#sanityCheck(context);
      this.sanityEpoch = undefined;
      this.scope = { stage: 'train', isBatchHook: false, suffix: '' };
      await this.#hooks.run('onTrainStart');
      await this.#hooks.runCheckpoints('onTrainStart');
      this.metrics.commit();
      await this.#completed('trainStart', {});
      this.#maySave = !this.#settings.fastDevRun;
      const began = performance.now();
      await loop.run();
      await this.checkpointing.finish();
      this.#describeCost(performance.now() - began);
      await this.#hooks.run('onFitEnd');
      status = 'success';
    } catch (error) {
      await this.#onFailure(error, loop);
    } finally {
      this.#maySave = false;
      await loop.close();
      for (const logger of this.loggers) await logger.finalize?.(status);
    }
  }

  #describeCost(elapsedMs: number): void {
    const { cost } = this.checkpointing;
    const isShown = this.#options.enableProgressBar ?? true;
    if (isShown && cost.saves > 0) this.#trainer.info(describeCost(cost, elapsedMs));
  }

  async #onFailure(error: unknown, loop: FitLoop): Promise<never> {
    loop.rewind();
    try {
      const hook = error instanceof Interrupted ? 'onInterrupt' : 'onException';
      await this.checkpointing.round(() => this.#hooks.runCheckpoints(hook, error));
      if (hook === 'onException') await this.#hooks.run('onException', error);
      await this.checkpointing.flush();
    } catch (second) {
      const why = second instanceof Error ? second.message : String(second);
      this.#trainer.warnOnce(`While fit was ending with an error, another one happened: ${why}`);
    }
    if (error instanceof Interrupted) {
      throw new DOMException('Training was interrupted; its state is saved.', 'AbortError');
    }
    throw error;
  }

  async #setUp(): Promise<void> {
    await this.#hooks.run('setup', 'fit');
    await this.#hooks.runCheckpoints('setup', 'fit');
    if (this.#settings.fastDevRun) return;
    await prepareFolders(this.checkpointing.storage, this.#folders);
    for (const logger of this.loggers) await logger.logHyperparams?.(this.#module.hparams);
  }

  async #sanityCheck(context: FitContext): Promise<void> {
    const batches = this.#settings.numSanityValSteps;
    if (!this.hasValidation || batches === 0) return;
    const limits = this.valLimits.map((limit) => Math.min(limit, batches));
    this.sanityChecking = true;
    await withoutTrace(this.metrics, this.rng, this.#val, async () => {
      await this.#hooks.run('onSanityCheckStart');
      await runValidation({ ...context, sources: this.#val, limits }, 0);
      await this.#hooks.run('onValidationEnd');
      await this.#completed('sanityValidationEnd', {});
      await this.#hooks.run('onSanityCheckEnd');
    });
    this.sanityChecking = false;
  }

  async #completed(hook: ObservedHook, info: { readonly batchIdx?: number }): Promise<void> {
    await this.#options.onHookCompleted?.(hook, info);
  }

  // Checkpoints ----------------------------------------------------------------------------------------

  /** Loggers go on with the run that is resumed, or begin a new one. */
  async #beginLoggers(found: ResumeSource | undefined): Promise<void> {
    const stored = (found?.reader.document?.loggers ?? []) as readonly JsonValue[];
    const goesOn = this.#fit.ckptPath === 'last' || this.#fit.ckptPath === 'best';
    for (const [index, logger] of this.loggers.entries()) {
      const run = await loggerRun(logger, stored[index], goesOn);
      if (run === undefined || logger.resume === undefined) await logger.setup?.();
      else await logger.resume(run.version, run.position);
    }
  }

  async #restore(reader: CheckpointReader): ReturnType<typeof restoreCheckpoint> {
    const folders = this.#folders;
    const isOwn = (path: string): boolean => folders.some((folder) => isInside(folder.path, path));
    if (!this.#settings.fastDevRun) await finishSave(this.checkpointing.storage, reader, isOwn);
    for (const warning of await newerFiles(
      this.checkpointing.storage,
      folders,
      reader,
      this.#owners,
    )) {
      this.#trainer.warnOnce(warning);
    }
    this.checkpointing.resumedFrom = reader.path;
    this.checkpointing.resumedSequence = Number(reader.document?.sequence ?? 0);
    this.#trainer.resumedFrom = reader.path;
    const restored = await restoreCheckpoint(reader, {
      module: this.#module,
      callbacks: this.#trainer.callbacks,
      metrics: this.metrics,
      rng: this.rng,
      trainSource: this.#train,
      valSources: this.#val,
      onLoad: async (checkpoint) => {
        for (const callback of this.#trainer.callbacks) {
          await callback.onLoadCheckpoint?.(this.#trainer, this.#module, checkpoint);
        }
        await this.#module.onLoadCheckpoint?.(checkpoint);
      },
    });
    this.sequence = restored.sequence;
    this.#trainer.shouldStop = reader.document?.shouldStop === true;
    this.sanityEpoch = Number(reader.document?.epoch ?? 0);
    const isMidEpoch = !['epochStart', 'finished'].includes(restored.progress.next);
    if (isMidEpoch && !isExactlyResumable(this.#train)) {
      this.#trainer.warnOnce(
        'The training data has neither a state nor a length, so this resume in the middle of an epoch cannot ' +
          'be exact: batches are skipped by iterating past them. Use a DataLoader.',
      );
    }
    return restored;
  }

  get #places(): SearchPlaces {
    return {
      storage: this.checkpointing.storage,
      folders: this.#runFolders,
      logger: this.loggers[0],
      asked: (path) => `fit({ckptPath: '${path}'})`,
      warn: (message) => this.#trainer.warnOnce(message),
    };
  }

  get #folders(): readonly CheckpointFolder[] {
    return this.#runFolders.all(this.checkpointing.defaultFolder);
  }

  async #capture(): Promise<Snapshot> {
    return await captureCheckpoint({
      trainer: this.#trainer,
      module: this.#module,
      metrics: this.metrics,
      rng: this.rng,
      loggers: this.loggers,
      valSources: this.#val,
      progress: this.loop?.resumePoint ?? START,
      trainPosition: this.loop?.feedPosition,
      sequence: ++this.sequence,
    });
  }

  async close(): Promise<void> {
    await this.#hooks.run('teardown', 'fit');
    await this.metrics.clear();
  }
}
