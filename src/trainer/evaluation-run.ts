import type { Stage } from '../callbacks/callback.ts';
import { MisconfigurationError } from '../errors.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import type { EvaluationOptions } from './call-options.ts';
import type { CheckpointOwner } from './checkpointing.ts';
import { checkSource, type DataSource, dataSources, inOrder } from './data-source.ts';
import { type EvaluationOutcome, runEvaluation } from './evaluation-loop.ts';
import { findCheckpoint } from './find-checkpoint.ts';
import { agreeOnLengths, shardsOf } from './fit-data.ts';
import { Hooks } from './hooks.ts';
import { type LearningRateSchedule, UNSCHEDULED } from './learning-rate.ts';
import { loadWeights } from './load-weights.ts';
import type { LogScope } from './log-options.ts';
import { logRow } from './log-row.ts';
import { MetricStore } from './metrics.ts';
import { defaultStorage, type TrainerOptions } from './options.ts';
import type { Progress } from './progress.ts';
import { rankZeroReads } from './rank-zero-reads.ts';
import type { Ranks } from './ranks.ts';
import { beginLoggers } from './resume.ts';
import { Rng } from './rng.ts';
import type { Run } from './run.ts';
import { RunFolders } from './run-folders.ts';
import { batchCount } from './schedule.ts';
import type { BatchLimit } from './settings.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';

/** What makes `validate`, `test` and `predict` different. */
const KINDS = {
  validate: {
    stage: 'validation',
    step: 'validationStep',
    loader: 'valDataloader',
    limit: 'limitValBatches',
    end: 'onValidationEnd',
  },
  test: {
    stage: 'test',
    step: 'testStep',
    loader: 'testDataloader',
    limit: 'limitTestBatches',
    end: 'onTestEnd',
  },
  predict: {
    stage: 'predict',
    step: 'predictStep',
    loader: 'predictDataloader',
    limit: 'limitPredictBatches',
    end: 'onPredictEnd',
  },
} as const;

/** What an evaluation gives: metrics and predictions, both by loader. */
export interface EvaluationResult {
  readonly metrics: readonly Readonly<Record<string, number>>[];
  readonly predictions: readonly (readonly unknown[])[];
}

/** One call of `validate`, `test` or `predict`. Training stands where it stood. */
export class EvaluationRun implements Run {
  readonly stage: Exclude<Stage, 'fit'>;
  readonly metrics: MetricStore;
  readonly rng: Rng;
  readonly progress: Progress;
  readonly sanityEpoch = undefined;
  readonly sanityChecking = false;
  readonly checkpointing = undefined;
  readonly schedule: LearningRateSchedule = UNSCHEDULED;
  readonly trainBatches = 0;
  readonly hasValidation = false;
  readonly whyUnvalidated = undefined;
  evaluationBatches: readonly number[] = [];
  scope: LogScope | undefined;
  readonly #trainer: Trainer;
  readonly #ranks: Ranks;
  readonly #module: TrainingModule;
  readonly #options: TrainerOptions;
  readonly #hooks: Hooks;

  constructor(
    stage: Exclude<Stage, 'fit'>,
    trainer: Trainer,
    module: TrainingModule,
    options: TrainerOptions,
    progress: Progress,
  ) {
    this.stage = stage;
    this.#trainer = trainer;
    this.#ranks = trainer.ranks;
    this.#module = module;
    this.#options = options;
    this.progress = progress;
    this.metrics = new MetricStore(module, trainer.ranks);
    this.rng = new Rng(trainer.settings.seed);
    this.#hooks = new Hooks(trainer, module, trainer.callbacks);
  }

  async run(options: EvaluationOptions): Promise<EvaluationResult> {
    try {
      return await this.#evaluate(options);
    } catch (error) {
      await this.#hooks.run('onException', error);
      throw error;
    }
  }

  async #evaluate(options: EvaluationOptions): Promise<EvaluationResult> {
    const hooks = this.#hooks;
    const { stage, end } = KINDS[this.stage];
    const ranks = this.#ranks;
    const trainer = this.#trainer;
    await ranks.onZero(() => hooks.guard('prepareData', () => this.#module.prepareData?.()));
    await hooks.run('setup', this.stage);
    const sources = await this.#sources(options);
    await this.#load(options.ckptPath);
    const loggers = this.stage === 'predict' ? [] : this.#trainer.loggers;
    await ranks.onZero(() =>
      hooks.guard('logger.setup', () => beginLoggers(loggers, undefined, undefined)),
    );
    let outcome: EvaluationOutcome;
    let status: 'success' | 'failed' = 'failed';
    try {
      const context = {
        module: this.#module,
        ranks,
        hooks,
        metrics: this.metrics,
        sources,
        limits: this.evaluationBatches,
        warn: (message: string) => trainer.warnOnce(message),
        setScope: (scope: LogScope | undefined): void => {
          this.scope = scope;
        },
        logBatch: (names: readonly string[]) =>
          logRow(hooks, loggers, this.metrics, names, this.progress),
      };
      outcome = await runEvaluation(context, stage, this.progress.globalStep);
      await hooks.run(end);
      await logRow(hooks, loggers, this.metrics, outcome.names, this.progress);
      await this.metrics.readings(this.progress.globalStep);
      status = 'success';
    } finally {
      for (const logger of loggers) {
        await logger.save?.();
        await logger.finalize?.(status);
      }
    }
    const { names, predictions } = outcome;
    return { metrics: byLoader(names, this.metrics.values(), sources.length), predictions };
  }

  async #sources(options: EvaluationOptions): Promise<readonly DataSource[]> {
    const { step, loader, limit } = KINDS[this.stage];
    const module = this.#module;
    if (module[step] === undefined) {
      throw new MisconfigurationError(
        `Trainer.${this.stage}: ${module.constructor.name} has no ${step}() method.`,
      );
    }
    const given =
      options.dataloaders ?? (await this.#hooks.guard(loader, async () => module[loader]?.()));
    if (given === undefined) {
      throw new MisconfigurationError(
        `Trainer.${this.stage}: there is no data. Pass {dataloaders} or give ${module.constructor.name} a ` +
          `${loader}() method.`,
      );
    }
    const found = dataSources(given);
    for (const source of found) checkSource(`Trainer.${this.stage}`, 'dataloaders', source);
    const { isOverfitting } = this.#trainer.settings;
    const isInOrder = isOverfitting && this.stage === 'validate';
    const sources = isInOrder ? found.map(inOrder) : found;
    const batches: BatchLimit = this.#trainer.settings[limit];
    this.evaluationBatches = sources.map((source) => batchCount(limit, source, batches));
    await agreeOnLengths(this.#ranks, this.evaluationBatches);
    return shardsOf(sources, this.#ranks);
  }

  async #load(ckptPath: string | null | undefined): Promise<void> {
    if (!ckptPath) return;
    const { storage = defaultStorage() } = this.#options;
    const found = await this.#ranks.fromZero(async () => (await this.#find(ckptPath)).path);
    const reader = await CheckpointReader.open(rankZeroReads(storage, this.#ranks), found);
    await this.#hooks.guard('onLoadCheckpoint', () => loadWeights(this.#module, reader, {}));
    this.#trainer.info(`${this.stage}: weights of ${reader.path}`);
  }

  async #find(ckptPath: string): Promise<CheckpointReader> {
    const trainer = this.#trainer;
    const owners = trainer.checkpointCallbacks as unknown as readonly CheckpointOwner[];
    // What this Trainer has saved itself needs no search.
    const best = ckptPath === 'best' ? trainer.bestModelPath : '';
    const found = await findCheckpoint(best || ckptPath, {
      asked: (path) => `${this.stage}({ckptPath: '${path}'})`,
      isWeightsEnough: true,
      storage: this.#options.storage ?? defaultStorage(),
      folders: new RunFolders(this.#options, trainer.loggers[0], owners),
      logger: trainer.loggers[0],
      warn: (message) => trainer.warnOnce(message),
    });
    if (found !== undefined) return found.reader;
    throw new MisconfigurationError(`Trainer.${this.stage}: there is no checkpoint '${ckptPath}'.`);
  }

  async close(): Promise<void> {
    await this.#hooks.run('teardown', this.stage);
    await this.metrics.clear();
  }
}

/** Each loader's metrics: those that bear its number, and those that bear none. */
function byLoader(
  names: readonly string[],
  values: Readonly<Record<string, number>>,
  loaders: number,
): readonly Readonly<Record<string, number>>[] {
  return Array.from({ length: loaders }, (_, index) => {
    const own: Record<string, number> = {};
    for (const name of names) {
      const [, loader] = /\/dataloader_idx_(\d+)(?:_step|_epoch)?$/.exec(name) ?? [];
      if (loader === undefined || Number(loader) === index) own[name] = values[name] ?? Number.NaN;
    }
    return own;
  });
}
