import type { Callback } from '../callbacks/callback.ts';
import type { StateGroup } from '../engines/engine.ts';
import { CheckpointFileError, MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { findNewest } from '../saving/recovery.ts';
import { restoreTensors } from '../saving/user-values.ts';
import type { Storage } from '../storages/storage.ts';
import type { FeedPosition } from './batch-feed.ts';
import type { Checkpoint } from './checkpoint.ts';
import { callbacksByKey } from './checkpoint-content.ts';
import type { DataSource } from './data-source.ts';
import type { MetricStore } from './metrics.ts';
import { type Progress, progressFromJson } from './progress.ts';
import type { Rng } from './rng.ts';
import type { TrainingModule } from './training-module.ts';

const EVERY_GROUP: ReadonlySet<StateGroup> = new Set(['model', 'optimizer', 'gradient', 'rng']);

/** The checkpoint that `ckptPath` means; undefined for `'last'` when there is none yet. */
export async function resolveCheckpoint(
  storage: Storage,
  ckptPath: string,
  folders: readonly string[],
  warn: (message: string) => void,
): Promise<CheckpointReader | undefined> {
  if (ckptPath !== 'last' && ckptPath !== 'best') return await openWhole(storage, ckptPath);
  const newest = (await findNewest(storage, folders, warn))?.reader;
  if (ckptPath === 'last') return newest;
  const best = newest === undefined ? undefined : bestNamedBy(newest);
  if (best === undefined) {
    throw new MisconfigurationError(
      `fit({ckptPath: 'best'}): no checkpoint in ${folders.map((folder) => `'${folder}'`).join(', ')} names a best one.`,
      { details: { folders } },
    );
  }
  return await openWhole(storage, best);
}

async function openWhole(storage: Storage, path: string): Promise<CheckpointReader> {
  const reader = await CheckpointReader.open(storage, path);
  if (reader.isResumable) return reader;
  const what =
    reader.document === undefined ? 'a plain safetensors file' : 'a weights-only checkpoint';
  throw new MisconfigurationError(
    `fit({ckptPath: '${path}'}): this is ${what}, without optimizer and loop state, so training cannot go on ` +
      `from it. Load its weights with loadFromCheckpoint, or resume from a full checkpoint.`,
    { details: { path } },
  );
}

function bestNamedBy(reader: CheckpointReader): string | undefined {
  const callbacks = (reader.document?.callbacks ?? {}) as JsonObject;
  for (const state of Object.values(callbacks)) {
    const path = (state as JsonObject | undefined)?.bestModelPath;
    if (typeof path === 'string' && path !== '') return path;
  }
  return undefined;
}

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
  readonly feed: FeedPosition | undefined;
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

  const states = (document.callbacks ?? {}) as JsonObject;
  for (const [key, callback] of callbacksByKey(target.callbacks)) {
    const state = Object.hasOwn(states, key) ? states[key] : undefined;
    if (state !== undefined) await callback.loadStateDict?.(state);
  }
  target.metrics.loadStateDict(document.metrics ?? null);
  target.rng.loadStateDict(document.rng ?? null);
  const loaders = (document.dataloaders ?? {}) as JsonObject;
  const stored = (loaders.val ?? []) as readonly JsonValue[];
  for (const [index, source] of target.valSources.entries()) {
    const state = stored[index];
    if (state !== undefined && state !== null) source.loadStateDict?.(state);
  }
  return {
    progress,
    feed: loaders.train as FeedPosition | undefined,
    sequence: Number(document.sequence ?? 0),
  };
}
