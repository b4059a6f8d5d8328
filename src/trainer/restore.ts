import type { Callback } from '../callbacks/callback.ts';
import type { StateGroup } from '../engines/engine.ts';
import { CheckpointFileError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { restoreTensors } from '../saving/user-values.ts';
import { type FeedPosition, restoreSource } from './batch-feed.ts';
import type { Checkpoint } from './checkpoint.ts';
import { callbacksByKey } from './checkpoint-content.ts';
import type { DataSource } from './data-source.ts';
import type { MetricStore } from './metrics.ts';
import { type Progress, progressFromJson } from './progress.ts';
import type { Rng } from './rng.ts';
import type { TrainingModule } from './training-module.ts';

const EVERY_GROUP: ReadonlySet<StateGroup> = new Set(['model', 'optimizer', 'gradient', 'rng']);

/** What a checkpoint is restored into. */
export interface RestoreTarget {
  readonly module: TrainingModule;
  readonly callbacks: readonly Callback[];
  readonly metrics: MetricStore;
  readonly rng: Rng;
  readonly trainSource: DataSource;
  readonly valSources: readonly DataSource[];
  onLoad(checkpoint: Checkpoint): Promise<void>;
}

/** Where training goes on. */
export interface RestoredPosition {
  readonly progress: Progress;
  readonly sequence: number;
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
  const { document } = reader;
  if (document === undefined)
    throw new CheckpointFileError(`'${reader.path}' holds no training state.`);
  const progress = progressFromJson(document.loops);
  const tensors = await reader.load(EVERY_GROUP);
  const extras = await reader.loadExtras();
  await target.onLoad(restoreTensors(document, extras) as Checkpoint);

  const engine = (document.engine ?? {}) as JsonObject;
  const meta = (engine.meta ?? {}) as JsonObject;
  await target.module.load(tensors, meta, { strict: true, weightsOnly: false });

  await restoreCallbacks(document, target.callbacks);
  target.metrics.loadStateDict(document.metrics ?? null);
  target.rng.loadStateDict(document.rng ?? null);
  const loaders = (document.dataloaders ?? {}) as JsonObject;
  const stored = (loaders.val ?? []) as readonly JsonValue[];
  for (const [index, source] of target.valSources.entries()) {
    const state = stored[index];
    if (state !== undefined && state !== null) source.loadStateDict?.(state);
  }
  restoreSource(target.trainSource, loaders.train as FeedPosition | undefined);
  return {
    progress,
    sequence: Number(document.sequence ?? 0),
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
