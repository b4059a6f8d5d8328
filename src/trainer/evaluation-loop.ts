import { BatchFeed } from './batch-feed.ts';
import type { DataSource } from './data-source.ts';
import type { Hooks } from './hooks.ts';
import type { LogScope, MetricStore } from './metrics.ts';
import type { TrainingModule } from './training-module.ts';

export interface EvaluationContext {
  readonly module: TrainingModule;
  readonly hooks: Hooks;
  readonly metrics: MetricStore;
  readonly sources: readonly DataSource[];
  /** Batches of each source at most. */
  readonly limits: readonly number[];
  setScope(scope: LogScope | undefined): void;
}

/**
 * One run over the validation data. Its metrics are reduced when it returns; `onValidationEnd` is still to
 * come. Returns the names of the metrics it made.
 */
export async function runValidation(
  context: EvaluationContext,
  globalStep: number,
): Promise<readonly string[]> {
  const { module, hooks, metrics, sources, limits } = context;
  const scope = (isBatchHook: boolean, suffix = ''): void =>
    context.setScope({ stage: 'validation', isBatchHook, suffix });
  scope(false);
  await hooks.run('onValidationStart');
  await hooks.run('onValidationEpochStart');
  metrics.commit();
  for (const [index, source] of sources.entries()) {
    const suffix = sources.length > 1 ? `/dataloader_idx_${index}` : '';
    const feed = new BatchFeed(source, limits[index] ?? 0);
    for (let batchIdx = 0; ; batchIdx++) {
      const fed = await feed.next();
      if (fed === undefined) break;
      scope(true, suffix);
      await hooks.run('onValidationBatchStart', fed.batch, batchIdx, index);
      const output = await hooks.guard('validationStep', () =>
        module.evalStep('validation', fed.batch, batchIdx, index),
      );
      await hooks.run('onValidationBatchEnd', output, fed.batch, batchIdx, index);
      metrics.commit();
      feed.complete();
    }
    await feed.close();
  }
  scope(false);
  await hooks.run('onValidationEpochEnd');
  metrics.commit();
  const steps = metrics.publishStep('validation', globalStep);
  return [...steps, ...(await metrics.publishEpoch('validation', globalStep))];
}
