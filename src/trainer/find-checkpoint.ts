import { MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { Logger } from '../loggers/logger.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { isContained } from '../saving/containment.ts';
import { type CheckpointFolder, findNewest } from '../saving/recovery.ts';
import type { Storage } from '../storages/storage.ts';
import { absolutePath } from './options.ts';
import { rankZeroReads } from './rank-zero-reads.ts';
import type { Ranks } from './ranks.ts';
import type { RunFolders } from './run-folders.ts';

/** The checkpoint to resume from. */
export interface ResumeSource {
  readonly reader: CheckpointReader;
  /** Where callbacks without `dirpath` go on saving, when that is an earlier run's folder. */
  readonly defaultFolder: string | undefined;
}

/** Where `ckptPath` is looked for, and what for. */
export interface SearchPlaces {
  /** The weights are all that is wanted: any kind of checkpoint will do, but there must be one. */
  readonly isWeightsEnough?: boolean;
  readonly storage: Storage;
  readonly folders: RunFolders;
  readonly logger: Logger | undefined;
  /** How the user asked for a path, for messages. */
  asked(path: string): string;
  warn(message: string): void;
}

/**
 * The checkpoint that `ckptPath` means. `'last'` and `'best'` look through the runs of a logger that numbers
 * them, the newest first.
 *
 * @returns undefined for `'last'` when there is none yet, unless only weights are wanted.
 * @throws MisconfigurationError for a file that cannot be resumed from, and for `'best'` when there is none.
 */
export async function findCheckpoint(
  ckptPath: string,
  places: SearchPlaces,
): Promise<ResumeSource | undefined> {
  const { folders, logger } = places;
  if (ckptPath !== 'last' && ckptPath !== 'best') {
    const reader = await open(places, absolutePath(ckptPath));
    return { reader, defaultFolder: undefined };
  }
  const versions = [...((await logger?.versions?.()) ?? [])].reverse();
  const runs =
    versions.length > 0 ? versions.map((v) => folders.defaultFolder(v)) : [folders.defaultFolder()];
  for (const defaultFolder of runs) {
    const reader = await resolve(places, ckptPath, folders.all(defaultFolder));
    if (reader !== undefined) return { reader, defaultFolder };
  }
  if (ckptPath === 'last' && places.isWeightsEnough !== true) return undefined;
  throw new MisconfigurationError(
    `${places.asked(ckptPath)}: there is no checkpoint of this run yet. Train first, or give a path.`,
  );
}

/** {@link findCheckpoint} for all ranks: rank 0 looks for it, and reads it for all. */
export async function findForAll(
  ckptPath: string,
  places: SearchPlaces,
  ranks: Ranks,
): Promise<ResumeSource | undefined> {
  if (!ranks.areMany) return await findCheckpoint(ckptPath, places);
  const found = await ranks.fromZero(async () => {
    const { reader, defaultFolder } = (await findCheckpoint(ckptPath, places)) ?? {};
    return reader === undefined ? null : { path: reader.path, defaultFolder };
  });
  if (found === null) return undefined;
  const reader = await CheckpointReader.open(rankZeroReads(places.storage, ranks), found.path);
  return { reader, defaultFolder: found.defaultFolder };
}

/** The version of a logger's run that a resume goes on with, and where its rows stood; or begin anew. */
export async function loggerRun(
  logger: Logger,
  stored: JsonValue | undefined,
  goesOn: boolean,
): Promise<{ readonly version: number | string; readonly position: JsonValue } | undefined> {
  const { version, position = null } = isObject(stored) ? stored : {};
  if (typeof version !== 'number' && typeof version !== 'string') return undefined;
  const isGiven = logger.version === version;
  const isNumbered = goesOn && ((await logger.versions?.()) ?? []).includes(version as number);
  return isGiven || isNumbered ? { version, position } : undefined;
}

/** The checkpoint that `ckptPath` means in some folders; undefined when there is none in them. */
async function resolve(
  places: SearchPlaces,
  ckptPath: 'last' | 'best',
  folders: readonly CheckpointFolder[],
): Promise<CheckpointReader | undefined> {
  const newest = (await findNewest(places.storage, folders, (message) => places.warn(message)))
    ?.reader;
  if (ckptPath === 'last' || newest === undefined) return newest;
  const best = bestNamedBy(newest);
  if (best === undefined) {
    throw new MisconfigurationError(
      `${places.asked('best')}: the newest checkpoint, '${newest.path}', names no best one.`,
      { details: { newest: newest.path, folders } },
    );
  }
  for (const { path } of folders) {
    if (await isContained(places.storage, path, best)) return await open(places, best);
  }
  throw new MisconfigurationError(
    `${places.asked('best')}: the newest checkpoint, '${newest.path}', names '${best}' as the best one, which ` +
      `is in none of this run's folders. Give that path as ckptPath if it is meant.`,
    { details: { newest: newest.path, best, folders } },
  );
}

async function open(places: SearchPlaces, path: string): Promise<CheckpointReader> {
  const reader = await CheckpointReader.open(places.storage, path);
  if (places.isWeightsEnough === true || reader.isResumable) return reader;
  const what =
    reader.document === undefined ? 'a plain safetensors file' : 'a weights-only checkpoint';
  throw new MisconfigurationError(
    `${places.asked(path)}: this is ${what}, without optimizer and loop state, so training cannot go on ` +
      `from it. Load its weights with loadFromCheckpoint, or resume from a full checkpoint.`,
    { details: { path } },
  );
}

function bestNamedBy(reader: CheckpointReader): string | undefined {
  const { callbacks } = reader.document ?? {};
  for (const state of isObject(callbacks) ? Object.values(callbacks) : []) {
    const path = isObject(state) ? state.bestModelPath : undefined;
    if (typeof path === 'string' && path !== '') return path;
  }
  return undefined;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
