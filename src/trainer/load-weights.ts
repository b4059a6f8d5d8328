import type { LoadReport, StateGroup } from '../engines/engine.ts';
import type { JsonObject } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { placeOf } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { restoreTensors } from '../saving/user-values.ts';
import type { Storage } from '../storages/storage.ts';
import type { Checkpoint } from './checkpoint.ts';
import type { TrainingModule } from './training-module.ts';

/** How weights are loaded. */
export interface LoadOptions {
  /** Refuse a file that does not fit exactly (the default), or load what fits by name, shape and dtype. */
  readonly strict?: boolean;
  /** Where the file is. Default: local files. */
  readonly storage?: Storage;
}

export const LOAD_NAMES: OptionNames<LoadOptions> = {
  strict: true,
  storage: true,
};

const WEIGHTS: ReadonlySet<StateGroup> = new Set(['model']);

/**
 * Opens a checkpoint to look into it: only the header is read and checked. `loadWeights()` reads the weights,
 * `loadWeights(['fc1.kernel'])` just those, and `document` is everything else that it holds.
 *
 * @param path of the file; `~` and `file:` URLs work.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_VERSION`) saying which byte is
 * wrong; HighwaterError (`CHECKPOINT_NOT_FOUND`); MisconfigurationError (`MISCONFIGURATION`) for a path that is empty,
 * or without a `storage` a URL of something else than a local file.
 */
export async function openCheckpoint(
  path: string,
  options: Pick<LoadOptions, 'storage'> = {},
): Promise<CheckpointReader> {
  checkOptionNames('openCheckpoint', options, { storage: true });
  const { storage, path: file } = await placeOf(path, options);
  return await CheckpointReader.open(storage, file);
}

/**
 * Reads and verifies the weights of a file and puts them into a module. A full checkpoint also holds what
 * `onSaveCheckpoint` added: the module's `onLoadCheckpoint` gets to see it first.
 */
export async function loadWeights(
  module: TrainingModule,
  reader: CheckpointReader,
  options: LoadOptions,
): Promise<LoadReport> {
  const { document, isResumable } = reader;
  if (document !== undefined && isResumable && module.onLoadCheckpoint !== undefined) {
    const extras = await reader.loadExtras();
    await module.onLoadCheckpoint(restoreTensors(document, extras) as Checkpoint);
  }
  const strict = options.strict ?? true;
  return await module.load(await reader.load(WEIGHTS), {}, { strict, weightsOnly: true });
}

/** The hyper-parameters stored in a file; empty when there are none. */
export function storedHyperparameters({ document }: CheckpointReader): JsonObject {
  return (document?.hyperParameters ?? {}) as JsonObject;
}
