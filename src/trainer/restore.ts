import type { Callback } from '../callbacks/callback.ts';
import type { StateGroup } from '../engines/engine.ts';
import { CheckpointFileError, HighwaterError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { orderOf } from '../saving/stored-save.ts';
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

/** All that an engine has to put back. */
export const EVERY_GROUP: ReadonlySet<StateGroup> = new Set([
  'model',
  'optimizer',
  'gradient',
  'rng',
]);

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

/** What is read from a checkpoint while it is restored, with the file's name in what is thrown. */
export async function inFile<T>(path: string, restore: () => Promise<T>): Promise<T> {
  try {
    return await restore();
  } catch (error) {
    if (error instanceof HighwaterError && !error.message.includes(path)) {
      error.message = `'${path}' cannot be resumed from: ${error.message}`;
    }
    throw error;
  }
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
  // All that can be refused at once is, before anything is touched.
  const progress = progressFromJson(document.loops);
  const elapsedMs = elapsedIn(document);
  const ending = endingFromJson(document.ending);
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
  return { progress, sequence: orderOf(document).sequence, elapsedMs, ending };
}

function elapsedIn({ elapsedMs = 0 }: JsonObject): number {
  if (typeof elapsedMs === 'number' && elapsedMs >= 0 && elapsedMs < Number.POSITIVE_INFINITY) {
    return elapsedMs;
  }
  throw new CheckpointFileError(`It holds ${JSON.stringify(elapsedMs)} as elapsedMs.`);
}

function endingFromJson(stored: JsonValue | undefined): Ending | undefined {
  if (stored === undefined) return undefined;
  const { names, loss } = (stored ?? {}) as JsonObject;
  const isEnding =
    Array.isArray(names) &&
    names.every((name) => typeof name === 'string') &&
    (loss === undefined || typeof loss === 'number');
  if (!isEnding) throw new CheckpointFileError(`It holds ${JSON.stringify(stored)} as ending.`);
  return { names: names as readonly string[], loss };
}

/** Gives each callback that has state what is stored under its key. */
export async function restoreCallbacks(
  document: JsonObject,
  callbacks: readonly Callback[],
): Promise<void> {
  const { callbacks: states = {} } = document;
  if (typeof states !== 'object' || states === null) {
    throw new CheckpointFileError(`It holds ${JSON.stringify(states)} as callbacks.`);
  }
  for (const [key, callback] of callbacksByKey(callbacks)) {
    const state = Object.hasOwn(states, key) ? (states as JsonObject)[key] : undefined;
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
  const stored = Array.isArray(loaders.val) ? loaders.val : [];
  for (const [index, source] of data.val.entries()) {
    const state = stored[index];
    if (state !== undefined && state !== null) source.loadStateDict?.(state);
  }
  restoreSource(data.train, (loaders.train ?? undefined) as FeedPosition | undefined);
}
