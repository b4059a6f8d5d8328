import type { Callback } from '../callbacks/callback.ts';
import type { StateGroup } from '../engines/engine.ts';
import { CheckpointFileError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { restoreTensors } from '../saving/user-values.ts';
import { type FeedPosition, restoreSource } from './batch-feed.ts';
import type { Checkpoint } from './checkpoint.ts';
import { callbacksByKey, sourcesOf } from './checkpoint-content.ts';
import type { FitData } from './fit-data.ts';
import type { Ending } from './fit-loop.ts';
import type { Hooks } from './hooks.ts';
import type { LearningRate } from './learning-rate.ts';
import type { MetricStore } from './metrics.ts';
import { type Progress, progressFromJson } from './progress.ts';
import type { Rng } from './rng.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';

const EVERY_GROUP: ReadonlySet<StateGroup> = new Set(['model', 'optimizer', 'gradient', 'rng']);

/** What a checkpoint is restored into. */
export interface RestoreTarget {
  readonly trainer: Trainer;
  readonly module: TrainingModule;
  readonly hooks: Hooks;
  readonly metrics: MetricStore;
  readonly rng: Rng;
  readonly learningRate: LearningRate;
  readonly data: FitData;
}

/** Where training goes on. */
export interface RestoredPosition {
  readonly progress: Progress;
  readonly sequence: number;
  /** Training time of the runs before, in milliseconds. */
  readonly elapsedMs: number;
  /** For the hooks that come next, when they need it. */
  readonly ending: Ending | undefined;
}

/**
 * Puts a checkpoint back: everything is read and checked first, then the module, then the rest.
 *
 * @throws CheckpointMismatchError, CheckpointFileError; nothing of the module is touched then.
 */
export async function restoreCheckpoint(
  reader: CheckpointReader,
  target: RestoreTarget,
): Promise<RestoredPosition> {
  const { trainer, module, hooks, data } = target;
  const { document } = reader;
  if (document === undefined)
    throw new CheckpointFileError(`'${reader.path}' holds no training state.`);
  const progress = progressFromJson(document.loops);
  const tensors = await reader.load(EVERY_GROUP);
  const checkpoint = restoreTensors(document, await reader.loadExtras()) as Checkpoint;
  await hooks.guard('onLoadCheckpoint', async () => {
    for (const callback of trainer.callbacks) {
      await callback.onLoadCheckpoint?.(trainer, module, checkpoint);
    }
    for (const source of sourcesOf(data)) await source.onLoadCheckpoint?.(checkpoint);
    await module.onLoadCheckpoint?.(checkpoint);
  });

  const engine = (document.engine ?? {}) as JsonObject;
  const meta = (engine.meta ?? {}) as JsonObject;
  await module.load(tensors, meta, { strict: true, weightsOnly: false });

  await hooks.guard('loadStateDict', () => restoreStates(document, target));
  return {
    progress,
    sequence: Number(document.sequence ?? 0),
    elapsedMs: Number(document.elapsedMs ?? 0),
    ending: document.ending as unknown as Ending | undefined,
  };
}

/** Gives each callback that has state what is stored under its key. */
export async function restoreCallbacks(
  document: JsonObject,
  callbacks: readonly Callback[],
): Promise<void> {
  const states = (document.callbacks ?? {}) as JsonObject;
  for (const [key, callback] of callbacksByKey(callbacks)) {
    const state = Object.hasOwn(states, key) ? states[key] : undefined;
    if (state !== undefined) await callback.loadStateDict?.(state);
  }
}

async function restoreStates(document: JsonObject, target: RestoreTarget): Promise<void> {
  const { trainer, metrics, rng, learningRate, data } = target;
  await restoreCallbacks(document, trainer.callbacks);
  metrics.loadStateDict(document.metrics ?? null);
  rng.loadStateDict(document.rng ?? null);
  learningRate.loadStateDict(document.lrSchedulers);
  const loaders = (document.dataloaders ?? {}) as JsonObject;
  const stored = (loaders.val ?? []) as readonly JsonValue[];
  for (const [index, source] of data.val.entries()) {
    const state = stored[index];
    if (state !== undefined && state !== null) source.loadStateDict?.(state);
  }
  restoreSource(data.train, loaders.train as FeedPosition | undefined);
}
