import type { LoadReport, StateGroup } from '../engines/engine.ts';
import type { JsonObject } from '../format/json.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import type { Storage } from '../storages/storage.ts';
import { absolutePath, defaultStorage } from './options.ts';
import type { TrainingModule } from './training-module.ts';

/** How weights are loaded. */
export interface LoadOptions {
  /** Refuse a file that does not fit exactly (the default), or load what fits by name, shape and dtype. */
  readonly strict?: boolean;
  /** Where the file is. Default: local files. */
  readonly storage?: Storage;
}

const WEIGHTS: ReadonlySet<StateGroup> = new Set(['model']);

/** Opens a file for its weights; only the header is read. */
export async function openWeights(path: string, options: LoadOptions): Promise<CheckpointReader> {
  return await CheckpointReader.open(options.storage ?? defaultStorage(), absolutePath(path));
}

/** Reads and verifies the weights of a file, nothing else of it, and puts them into a module. */
export async function loadWeights(
  module: TrainingModule,
  reader: CheckpointReader,
  options: LoadOptions,
): Promise<LoadReport> {
  const strict = options.strict ?? true;
  return await module.load(await reader.load(WEIGHTS), {}, { strict, weightsOnly: true });
}

/** The hyper-parameters stored in a file; empty when there are none. */
export function storedHyperparameters({ document }: CheckpointReader): JsonObject {
  return (document?.hyperParameters ?? {}) as JsonObject;
}
