import { folderOf, lastPart } from '../checkpoint/folder.ts';
import { eachAtOnce } from '../each-at-once.ts';
import { CheckpointFileError, HighwaterError, StorageError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import { checkOptionNames } from '../option-check.ts';
import { placeOf, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { JOURNAL_FOLDER } from '../saving/journal.ts';
import type { Storage, StorageEntry } from '../storages/storage.ts';
import {
  bareSummary,
  type CheckpointSummary,
  groupedByFolder,
  oldestFirst,
  problemState,
  ranked,
  summaryOf,
  type UnrankedSummary,
} from './summary.ts';

/** How many files are opened together. */
const AT_ONCE = 32;

/** `.ckpt`, what a resume has set aside as `.ckpt.corrupt`, and files of other tools. */
const CHECKPOINT_NAME = /\.(?:ckpt(?:\.corrupt(?:-\d+)?)?|safetensors)$/;

/** What is in a folder of checkpoints. */
export interface CheckpointListing {
  /** As its storage takes it. */
  readonly folder: string;
  /** By folder, then the oldest first; two names of one save by name. */
  readonly checkpoints: readonly CheckpointSummary[];
}

/**
 * The checkpoints in a folder and in the folders below it, by their headers alone. Links are followed to
 * read a file, never into a folder; folders whose name begins with a dot and `node_modules` are passed over.
 *
 * @param folder a path or a `file:` URL.
 * @throws StorageError (`STORAGE_NOTFOUND`, `STORAGE_NOTAFOLDER`, `STORAGE_PERMISSION`…) when the folder
 * cannot be listed. A file that cannot be read, and a folder below that cannot be listed, are listed with their
 * `state` and `problem`.
 */
export async function listCheckpoints(
  folder: string | URL,
  options: StorageOptions = {},
): Promise<CheckpointListing> {
  checkOptionNames('listCheckpoints', options, STORAGE_NAMES);
  const { storage, path } = await placeOf(folder, options);
  const { checkpoints } = await survey(storage, path);
  return { folder: path, checkpoints };
}

/** What one walk over a folder and those below it finds. */
export interface Survey {
  /** As in a {@link CheckpointListing}. */
  readonly checkpoints: readonly CheckpointSummary[];
  /** The folders that may have a journal, by path. */
  readonly journalFolders: readonly string[];
}

/** See {@link listCheckpoints}. */
export async function survey(storage: Storage, path: string): Promise<Survey> {
  await checkFolder(storage, path);
  const found: UnrankedSummary[] = [];
  const journalFolders = new Set<string>();
  // One text for equal keys: each is a part of its file's header, which it would keep in memory.
  const keys = new Map<string | undefined, string | undefined>();
  await eachAtOnce(filesBelow(storage, path, journalFolders), AT_ONCE, async (entry) => {
    const summary = await summarize(storage, entry);
    if (summary === undefined) return;
    const { rankedAs } = summary;
    if (!keys.has(rankedAs)) keys.set(rankedAs, rankedAs);
    found.push({ ...summary, rankedAs: keys.get(rankedAs) });
  });
  const byFolder = groupedByFolder(
    found.map((summary) => ({ ...summary, folder: savingFolder(summary.folder, journalFolders) })),
  );
  const checkpoints = [...byFolder.keys()]
    .sort()
    .flatMap((folder) => ranked((byFolder.get(folder) ?? []).sort(oldestFirst)));
  return { checkpoints, journalFolders: [...journalFolders].sort() };
}

/** Names may make folders: then their callback saves further up, where its journal is. */
function savingFolder(folder: string, journalFolders: ReadonlySet<string>): string {
  for (let place = folder; place !== ''; place = folderOf(place)) {
    if (journalFolders.has(place)) return place;
  }
  return folder;
}

async function checkFolder(storage: Storage, path: string): Promise<void> {
  const entry = await storage.stat(path);
  if (entry === undefined) {
    throw new StorageError('NotFound', path, `There is no folder '${path}'.`);
  }
  if (entry.kind === 'file') {
    throw new StorageError('NotAFolder', path, `'${path}' is a file, not a folder of checkpoints.`);
  }
}

/** What a walk comes upon. */
export interface FoundEntry extends StorageEntry {
  /** Of a folder that cannot be listed: why. */
  readonly problem?: string;
}

/**
 * The files that may be checkpoints, links to files among them, and the folders below that cannot be listed. The
 * folders that turn out to hold a journal are added to `journalFolders`.
 */
export async function* filesBelow(
  storage: Storage,
  folder: string,
  journalFolders?: Set<string>,
): AsyncGenerator<FoundEntry> {
  for await (const entry of storage.list(folder)) {
    const name = lastPart(entry.path);
    if (entry.kind !== 'folder') {
      if (CHECKPOINT_NAME.test(name)) yield entry;
    } else if (name === JOURNAL_FOLDER) {
      journalFolders?.add(folder);
    } else if (!name.startsWith('.') && name !== 'node_modules') {
      try {
        yield* filesBelow(storage, entry.path, journalFolders);
      } catch (error) {
        if (!(error instanceof StorageError)) throw error;
        // It may have gone meanwhile.
        if (error.kind !== 'NotFound') yield { ...entry, problem: error.message };
      }
    }
  }
}

/** Undefined for a file that went away meanwhile, and for a link to a folder. */
async function summarize(
  storage: Storage,
  entry: FoundEntry,
): Promise<UnrankedSummary | undefined> {
  if (entry.problem !== undefined) return bareSummary(entry, 'unreadable', entry.problem);
  try {
    return summaryOf(entry, await documentOf(storage, entry));
  } catch (error) {
    if (!(error instanceof HighwaterError)) throw error;
    const state = problemState(error, entry.kind === 'link');
    const isGone = error.code === 'CHECKPOINT_NOT_FOUND' && state !== 'dangling link';
    if (isGone || error.code === 'STORAGE_CONFLICT') return undefined;
    return bareSummary(entry, state, error.message);
  }
}

async function documentOf(
  storage: Storage,
  { path, kind, sizeBytes }: StorageEntry,
): Promise<JsonObject | undefined> {
  try {
    const known = kind === 'file' ? sizeBytes : undefined;
    return (await CheckpointReader.open(storage, path, known)).document;
  } catch (error) {
    if (!(error instanceof CheckpointFileError)) throw error;
    // A run may have replaced the file since it was listed: then its size is another.
    return (await CheckpointReader.open(storage, path)).document;
  }
}
