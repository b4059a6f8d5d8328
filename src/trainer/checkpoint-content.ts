import type { Callback } from '../callbacks/callback.ts';
import type { EngineState, StateEntry } from '../engines/engine.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { type Snapshot, takeSnapshot } from '../saving/snapshot.ts';
import { extractTensors } from '../saving/user-values.ts';
import { VERSION } from '../version.ts';
import type { FeedPosition } from './batch-feed.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { DataSource } from './data-source.ts';
import type { FitData } from './fit-data.ts';
import type { Ending } from './fit-loop.ts';
import type { Hooks } from './hooks.ts';
import type { LearningRate } from './learning-rate.ts';
import type { MetricStore } from './metrics.ts';
import { type Progress, progressToJson } from './progress.ts';
import type { RngState } from './rng.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';

/** Callbacks that have state, by their unique keys: equal ones get `#2`, `#3`… in order. */
export function callbacksByKey(callbacks: readonly Callback[]): ReadonlyMap<string, Callback> {
  const byKey = new Map<string, Callback>();
  for (const callback of callbacks) {
    if (callback.stateDict === undefined) continue;
    const key = callback.stateKey ?? callback.constructor.name;
    let unique = key;
    for (let n = 2; byKey.has(unique); n++) unique = `${key}#${n}`;
    byKey.set(unique, callback);
  }
  return byKey;
}

/** The key of a callback among all, as {@link callbacksByKey} gives it. */
export function keyAmong(callbacks: readonly Callback[]): (callback: object) => string {
  const keys = new Map([...callbacksByKey(callbacks)].map(([key, callback]) => [callback, key]));
  return (callback) => keys.get(callback as Callback) ?? '';
}

/** What every checkpoint holds, whatever runs the training. */
export function commonContent(sources: {
  readonly epoch: number;
  readonly globalStep: number;
  readonly sequence: number;
  readonly engine: EngineState;
  readonly callbacks: readonly Callback[];
}): JsonObject {
  const { epoch, globalStep, sequence, engine, callbacks } = sources;
  return {
    epoch,
    globalStep,
    version: VERSION,
    sequence,
    engine: { name: engine.engineName, meta: engine.meta() },
    callbacks: callbackStates(callbacks),
  };
}

/** The state of every callback, by its key. */
function callbackStates(callbacks: readonly Callback[]): JsonObject {
  const states: Record<string, JsonValue> = {};
  for (const [key, callback] of callbacksByKey(callbacks)) {
    states[key] = callback.stateDict?.() ?? null;
  }
  return states;
}

/** Everything that a checkpoint is made of. */
export interface CheckpointSources {
  readonly trainer: Trainer;
  readonly module: TrainingModule;
  readonly hooks: Hooks;
  readonly metrics: MetricStore;
  readonly rng: RngState;
  readonly learningRate: LearningRate | undefined;
  readonly data: FitData | undefined;
  /** Where a resume goes on. */
  readonly progress: Progress;
  /** Training time so far: stored when `maxTime` limits it, so that a resume has the rest of it. */
  readonly elapsedMs: number;
  readonly trainPosition: FeedPosition | undefined;
  readonly valPositions: readonly JsonValue[];
  /** The module's tensors, when not as they are. */
  readonly state: readonly StateEntry[] | undefined;
  readonly ending: Ending | undefined;
  /** Counts the saves of a run, its resumes included: orders those of one step. */
  readonly sequence: number;
}

/** Takes hold of everything a checkpoint holds, as it is now: tensors by reference, the rest as JSON. */
export async function captureCheckpoint(sources: CheckpointSources): Promise<Snapshot> {
  const { trainer, module, hooks, metrics, rng, learningRate, data, progress, sequence } = sources;
  const { callbacks, loggers, settings } = trainer;
  // Before anything that may fail on one rank alone: here the ranks work together.
  const logged = await metrics.stateDict();
  for (const logger of loggers) await hooks.apart('logger.save', () => logger.save?.());
  const { ending } = sources;
  const checkpoint: Checkpoint = {
    ...(commonContent({
      epoch: trainer.currentEpoch,
      globalStep: trainer.globalStep,
      sequence,
      engine: module,
      callbacks: trainer.callbacks,
    }) as Pick<Checkpoint, 'epoch' | 'globalStep' | 'version' | 'callbacks'>),
    hyperParameters: module.hparams,
    loops: progressToJson(progress),
    ...(ending === undefined ? {} : { ending: await endingToJson(ending, module) }),
    lrSchedulers: learningRate?.stateDict() ?? [],
    shouldStop: trainer.shouldStop,
    ...(Number.isFinite(settings.maxTimeMs) ? { elapsedMs: sources.elapsedMs } : {}),
    metrics: logged,
    rng,
    dataloaders: {
      train: sources.trainPosition,
      val: sources.valPositions,
    },
    loggers: loggers.map((logger) => ({
      version: logger.version ?? null,
      position: logger.position?.() ?? null,
    })),
  };
  await hooks.guard('onSaveCheckpoint', async () => {
    for (const callback of callbacks) {
      await callback.onSaveCheckpoint?.(trainer, module, checkpoint);
    }
    for (const source of sourcesOf(data)) await source.onSaveCheckpoint?.(checkpoint);
    await module.onSaveCheckpoint?.(checkpoint);
  });
  const { document, extras } = extractTensors(checkpoint, module);
  return takeSnapshot(module, document, extras, sources.state);
}

/** Its loss becomes a number. */
async function endingToJson({ loss, names }: Ending, module: TrainingModule): Promise<JsonObject> {
  const isScalar = loss !== undefined && typeof loss !== 'number';
  return {
    names,
    ...(loss === undefined ? {} : { loss: isScalar ? await module.readScalar(loss) : loss }),
  };
}

/** Each source of a fit once: training and validation may share one. */
export function sourcesOf(data: FitData | undefined): ReadonlySet<DataSource> {
  return new Set(data === undefined ? [] : [data.train, ...data.val]);
}
