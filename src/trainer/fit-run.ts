import { Saver } from '../saving/saver.ts';
import type { FitOptions } from './call-options.ts';
import { keyAmong } from './checkpoint-content.ts';
import { describeCost } from './checkpoint-cost.ts';
import { prepareFolders } from './checkpoint-folders.ts';
import { Checkpointing, type CheckpointOwner } from './checkpointing.ts';
import { runEvaluation } from './evaluation-loop.ts';
import { findForAll, type ResumeSource, type SearchPlaces } from './find-checkpoint.ts';
import type { FitContext } from './fit-context.ts';
import { type FitData, fitData } from './fit-data.ts';
import { FitFailure } from './fit-failure.ts';
import { FitLoop } from './fit-loop.ts';
import { GradientSum } from './gradient-sum.ts';
import { Hooks } from './hooks.ts';
import { LearningRate, type LearningRateSchedule, UNSCHEDULED } from './learning-rate.ts';
import type { LogScope } from './log-options.ts';
import type { MetricStore } from './metrics.ts';
import { defaultStorage, type ObservedHook, type TrainerOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { copyFromZero } from './rank-state.ts';
import type { Ranks } from './ranks.ts';
import { inFile } from './restore.ts';
import { beginLoggers, finishFolders } from './resume.ts';
import type { Rng } from './rng.ts';
import type { Run } from './run.ts';
import { RunFolders } from './run-folders.ts';
import { planValidation } from './schedule.ts';
import type { TrainerSettings } from './settings.ts';
import { agreeOn, stepsOf } from './setup-agreement.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';
import { type Standing, TrainingState } from './training-state.ts';
import { withoutTrace } from './without-trace.ts';

/** One call of `fit`: sets up, restores, trains, and leaves everything durable whatever happens. */
export class FitRun implements Run {
  readonly stage = 'fit';
  readonly checkpointing: Checkpointing;
  sanityChecking = false;
  scope: LogScope | undefined;
  #maySave = false;
  readonly #state: TrainingState;
  readonly #trainer: Trainer;
  readonly #ranks: Ranks;
  readonly #module: TrainingModule;
  readonly #fit: FitOptions;
  readonly #settings: TrainerSettings;
  readonly #options: TrainerOptions;
  readonly #hooks: Hooks;
  readonly #owners: readonly CheckpointOwner[];
  readonly #failure: FitFailure;
  readonly #runFolders: RunFolders;

  constructor(
    trainer: Trainer,
    module: TrainingModule,
    fit: FitOptions,
    options: TrainerOptions,
    standing: Standing,
  ) {
    const { settings } = trainer;
    this.#trainer = trainer;
    this.#ranks = trainer.ranks;
    this.#module = module;
    this.#fit = fit;
    this.#settings = settings;
    this.#options = options;
    this.#hooks = new Hooks(trainer, module, trainer.callbacks);
    this.#state = new TrainingState(trainer, module, this.#hooks, standing);
    this.#owners = trainer.checkpointCallbacks as unknown as readonly CheckpointOwner[];
    this.#runFolders = new RunFolders(options, trainer.loggers[0], this.#owners);
    const storage = options.storage ?? defaultStorage();
    const saver = new Saver({ storage, maxWaiting: settings.maxWaitingSaves });
    this.checkpointing = new Checkpointing(
      {
        owners: this.#owners,
        keyOf: keyAmong(trainer.callbacks),
        moment: (hook, elapsedMs) => ({
          hook,
          epoch: trainer.currentEpoch,
          globalStep: trainer.globalStep,
          tookStep: this.progress.tookStep,
          elapsedMs,
          hasValidated: !this.hasValidation || this.progress.validations > 0,
          whyUnvalidated: this.whyUnvalidated,
        }),
        readings: () => this.metrics.readings(trainer.globalStep),
        capture: () => this.#state.capture(),
        announce: async (owner) => {
          for (const logger of trainer.loggers) {
            await this.#hooks.apart('afterSaveCheckpoint', () =>
              logger.afterSaveCheckpoint?.(owner as never),
            );
          }
        },
        position: () => ({ epoch: trainer.currentEpoch, globalStep: trainer.globalStep }),
        maySave: () => this.#maySave,
        ...(settings.onSaveError === 'warn' && {
          saveFailed: ({ message }) => trainer.warnOnce(`${message} Training goes on.`),
        }),
      },
      storage,
      saver,
      !settings.asyncSave,
      trainer.ranks,
    );
    this.#failure = new FitFailure(trainer, this.#hooks, this.checkpointing, this.#owners);
  }

  get metrics(): MetricStore {
    return this.#state.metrics;
  }
  get rng(): Rng {
    return this.#state.rng;
  }
  get progress(): Progress {
    return this.#state.progress;
  }
  get sanityEpoch(): number | undefined {
    return this.#state.sanityEpoch;
  }
  get trainBatches(): number {
    return this.#state.data?.trainBatches ?? 0;
  }
  get evaluationBatches(): readonly number[] {
    return this.#state.data?.valLimits ?? [];
  }
  get hasValidation(): boolean {
    return this.#state.data?.hasValidation ?? false;
  }
  get whyUnvalidated(): string | undefined {
    return this.#state.data?.whyUnvalidated;
  }
  get schedule(): LearningRateSchedule {
    return this.#state.learningRate?.schedule ?? UNSCHEDULED;
  }
  /** Where training stands, for the next `fit` on this Trainer. */
  get standing(): Standing {
    return this.#state.standing;
  }

  async fit(): Promise<void> {
    try {
      await this.#prepareAndTrain();
    } catch (error) {
      throw await this.#failure.ofFit(error);
    }
  }

  async #prepareAndTrain(): Promise<void> {
    const hooks = this.#hooks;
    const state = this.#state;
    const ranks = this.#ranks;
    await agreeOn(ranks, stepsOf(this.#settings, this.#trainer.callbacks));
    // Rank 0's: the others may see no file.
    const ckptPath = (await ranks.broadcast(this.#fit.ckptPath ?? null)) as string | null;
    await ranks.onZero(() => hooks.guard('prepareData', () => this.#module.prepareData?.()));
    await hooks.run('setup', 'fit');
    const warn = (message: string): void => this.#trainer.warnOnce(message);
    const data = await fitData(hooks, this.#module, this.#fit, this.#settings, ranks, warn);
    state.data = data;
    const plan = planValidation(this.#settings, data.trainBatches, data.hasValidation);
    const { loggers } = this.#trainer;
    const places: SearchPlaces = {
      asked: (path) => `fit({ckptPath: '${path}'})`,
      storage: this.checkpointing.storage,
      folders: this.#runFolders,
      logger: loggers[0],
      warn,
    };
    const found = ckptPath ? await findForAll(ckptPath, places, ranks) : undefined;
    this.checkpointing.defaultFolder = await ranks.fromZero(async () => {
      const begin = (): Promise<void> =>
        hooks.guard('logger.setup', () => beginLoggers(loggers, found, ckptPath));
      await (found === undefined ? begin() : inFile(found.reader.path, begin));
      return found?.defaultFolder ?? this.#runFolders.defaultFolder() ?? '';
    });
    await this.#prepare();
    const learningRate = await this.#configureOptimizers();
    state.learningRate = learningRate;
    const context: FitContext = {
      module: this.#module,
      ranks,
      gradients: this.#gradientSum(),
      settings: this.#settings,
      hooks,
      metrics: this.metrics,
      rng: this.rng,
      checkpointing: this.checkpointing,
      loggers,
      learningRate,
      data,
      plan,
      signal: this.#fit.signal,
      warn,
      shouldStop: () => this.#trainer.shouldStop,
      stop: () => {
        this.#trainer.shouldStop = true;
      },
      setScope: (scope) => {
        this.scope = scope;
      },
      completed: (hook, info = {}) => this.#completed(hook, info),
    };
    const standing =
      found === undefined
        ? state.goOn(data)
        : await inFile(found.reader.path, () => this.#resume(found.reader, data, learningRate));
    if (found === undefined && ranks.areMany) await copyFromZero(this.#module, ranks);
    const { progress: from, elapsedMs, ending } = standing;
    // A finished run goes on when its limits were raised.
    const start: Progress = from.next === 'finished' ? { ...from, next: 'epochStart' } : from;
    const loop = new FitLoop(context, start, elapsedMs, ending);
    state.loop = loop;
    // Before anything that depends on a stop or a clock of one rank.
    await loop.agree();
    const { isNothingLeft } = loop;
    if (found !== undefined) {
      const suffix = isNothingLeft ? '; nothing left to train' : '';
      this.#trainer.info(`resumed from ${found.reader.path}${suffix}`);
      if (isNothingLeft && from.next === 'epochStart') await this.#closeRun(loop);
    }
    if (isNothingLeft || data.trainBatches === 0) return;
    await this.#trainAndFinish(context, loop);
  }

  #gradientSum(): GradientSum | undefined {
    const { areMany, strategy } = this.#ranks;
    return areMany && strategy ? new GradientSum(this.#module, strategy) : undefined;
  }

  async #configureOptimizers(): Promise<LearningRate> {
    const hooks = this.#hooks;
    await hooks.run('onBeforeOptimizerSetup');
    const configured = await hooks.guard('configureOptimizers', () =>
      this.#module.setupOptimizers(),
    );
    const warn = (message: string): void => this.#trainer.warnOnce(message);
    const learningRate = new LearningRate(this.#module, configured, warn);
    await hooks.guard('lrScheduler.start', () => learningRate.start());
    return learningRate;
  }

  async #resume(
    reader: ResumeSource['reader'],
    data: FitData,
    learningRate: LearningRate,
  ): Promise<Standing> {
    const { checkpointing } = this;
    const mayWrite = !this.#settings.fastDevRun;
    checkpointing.resume(reader);
    const taken = await this.#ranks.fromZero(async () => {
      const options = { mayWrite };
      const folders = this.#runFolders;
      const finished = await finishFolders(reader, checkpointing, folders, options);
      for (const warning of finished.warnings) this.#trainer.warnOnce(warning);
      return finished.taken.map(({ path, role, stateKey = '' }) => ({ path, role, stateKey }));
    });
    const standing = await this.#state.restore(reader, data, learningRate);
    checkpointing.giveUp(taken);
    // Gradients so far are rank 0's to keep.
    if (!this.#ranks.isZero) await this.#module.replaceGradients?.([]);
    return standing;
  }

  /** The saves of a train end that a crash has prevented; none when the run had ended. */
  async #closeRun(loop: FitLoop): Promise<void> {
    this.#state.sanityEpoch = undefined;
    this.#maySave = !this.#settings.fastDevRun;
    await loop.saveTrainEnd();
    await this.checkpointing.finish();
  }

  async #trainAndFinish(context: FitContext, loop: FitLoop): Promise<void> {
    let status: 'success' | 'failed' = 'failed';
    try {
      await this.#hooks.run('onFitStart');
      if (loop.progress.next === 'epochStart') await this.#sanityCheck(context);
      this.#state.sanityEpoch = undefined;
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
      throw await this.#failure.inTraining(error, loop);
    } finally {
      this.#maySave = false;
      this.#state.leave();
      context.gradients?.release();
      await loop.close();
      for (const logger of this.#trainer.loggers) {
        await this.#ranks.apart(() => logger.finalize?.(status));
      }
    }
  }

  #describeCost(elapsedMs: number): void {
    const { cost } = this.checkpointing;
    const isShown = this.#options.enableProgressBar ?? true;
    if (isShown && cost.saves > 0) this.#trainer.info(describeCost(cost, elapsedMs));
  }

  /** Folders and loggers, before any training; nothing in a `fastDevRun`. */
  async #prepare(): Promise<void> {
    await this.#hooks.runCheckpoints('setup', 'fit');
    if (this.#settings.fastDevRun) return;
    await this.#ranks.onZero(async () => {
      const { storage, defaultFolder } = this.checkpointing;
      await prepareFolders(storage, this.#runFolders.all(defaultFolder));
      const isLogged = this.#options.enableAutologHparams ?? true;
      if (!isLogged || !this.#module.logsHparams) return;
      for (const logger of this.#trainer.loggers) {
        await this.#hooks.guard('logHyperparams', () =>
          logger.logHyperparams?.(this.#module.hparams),
        );
      }
    });
  }

  async #sanityCheck(context: FitContext): Promise<void> {
    const batches = this.#settings.numSanityValSteps;
    if (!this.hasValidation || batches === 0) return;
    const { val: sources, valLimits } = context.data;
    const limits = valLimits.map((limit) => Math.min(limit, batches));
    this.sanityChecking = true;
    await withoutTrace(this.metrics, this.rng, sources, async () => {
      await this.#hooks.run('onSanityCheckStart');
      await runEvaluation({ ...context, sources, limits }, 'validation', 0);
      await this.#hooks.run('onValidationEnd');
      await this.#completed('sanityValidationEnd', {});
      await this.#hooks.run('onSanityCheckEnd');
    });
    this.sanityChecking = false;
  }

  async #completed(hook: ObservedHook, info: { readonly batchIdx?: number }): Promise<void> {
    await this.#options.onHookCompleted?.(hook, info);
  }

  async close(): Promise<void> {
    await this.#hooks.run('teardown', 'fit');
    await this.metrics.clear();
  }
}
