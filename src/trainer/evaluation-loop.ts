import type { EvaluationStage } from '../engines/engine.ts';
import { nextMacrotask } from '../event-loop.ts';
import { agreeOnBatch } from './batch-agreement.ts';
import { BatchFeed } from './batch-feed.ts';
import type { DataSource } from './data-source.ts';
import type { Hooks } from './hooks.ts';
import type { LogScope } from './log-options.ts';
import type { MetricStore } from './metrics.ts';
import type { Ranks } from './ranks.ts';
import { batchShare } from './share.ts';
import type { TrainingModule } from './training-module.ts';

export interface EvaluationContext {
  readonly module: TrainingModule;
  readonly ranks: Ranks;
  readonly hooks: Hooks;
  readonly metrics: MetricStore;
  readonly sources: readonly DataSource[];
  /** Batches of each source at most. */
  readonly limits: readonly number[];
  setScope(scope: LogScope | undefined): void;
  warn(message: string): void;
  /** Sends what a batch has made visible to the loggers. */
  logBatch?(names: readonly string[]): Promise<void>;
}

/** What one run over the data gave. */
export interface EvaluationOutcome {
  /** The metrics of the whole run over the data. */
  readonly names: readonly string[];
  /** What `predictStep` returned, by loader; of other stages empty. */
  readonly predictions: readonly (readonly unknown[])[];
}

const HOOKS = { validation: 'Validation', test: 'Test', predict: 'Predict' } as const;

/**
 * One run over evaluation data. Its metrics are reduced when it returns; `on<Stage>End` is still to come.
 * Nothing can be logged while predicting.
 */
export async function runEvaluation(
  context: EvaluationContext,
  stage: EvaluationStage,
  globalStep: number,
): Promise<EvaluationOutcome> {
  const { module, hooks, metrics, sources, limits } = context;
  const name = HOOKS[stage];
  const scope = (isBatchHook: boolean, suffix = ''): void =>
    context.setScope(stage === 'predict' ? undefined : { stage, isBatchHook, suffix });
  const predictions: unknown[][] = [];
  scope(false);
  await hooks.run(`on${name}Start`);
  await hooks.run(`on${name}EpochStart`);
  metrics.commit();
  for (const [index, source] of sources.entries()) {
    const suffix = sources.length > 1 ? `/dataloader_idx_${index}` : '';
    const predicted: unknown[] = [];
    if (stage === 'predict') predictions.push(predicted);
    const feed = new BatchFeed(source, limits[index] ?? 0);
    for (let batchIdx = 0; ; batchIdx++) {
      const fed = await hooks.guard(`the ${stage} data`, () => feed.next());
      await agreeOnBatch(context.ranks, fed, stage, batchIdx);
      if (fed === undefined) break;
      // A stand-in for a rank without a share of the batch: nobody asked for its prediction.
      if (stage === 'predict' && fed.weight === 0) {
        feed.complete();
        continue;
      }
      metrics.share = batchShare(fed.weight, context.ranks.count);
      scope(true, suffix);
      await hooks.run(`on${name}BatchStart`, fed.batch, batchIdx, index);
      const output = await hooks.guard(`${stage}Step`, () =>
        module.evalStep(stage, fed.batch, batchIdx, index),
      );
      if (stage === 'predict') predicted.push(output);
      await hooks.run(`on${name}BatchEnd`, output, fed.batch, batchIdx, index);
      metrics.commit();
      if (stage !== 'predict') await metrics.syncSteps(stage);
      if (stage !== 'predict') await context.logBatch?.(metrics.publishStep(stage, globalStep));
      feed.complete();
      await nextMacrotask();
    }
    await feed.close();
  }
  scope(false);
  await hooks.run(`on${name}EpochEnd`);
  metrics.commit();
  // Lightning refuses logs in what follows, as they would belong to no epoch.
  context.setScope(undefined);
  if (stage === 'predict') return { names: [], predictions };
  await metrics.syncSteps(stage);
  const unsynced = metrics.unsynced(stage);
  if (unsynced.length > 0) {
    const names = unsynced.map((each) => `'${each}'`).join(', ');
    context.warn(
      `${names}: logged without syncDist, so each rank has the value of its own share of the data, and rank 0's decides. ` +
        `For that of all data: log(name, value, {syncDist: true}).`,
    );
  }
  metrics.publishStep(stage, globalStep);
  return { names: await metrics.publishEpoch(stage, globalStep), predictions };
}
