import { HighwaterError } from '../errors.ts';
import { journalPath } from '../saving/journal.ts';
import type { Storage } from '../storages/storage.ts';
import { type FileFate, fateOf, type HistoryEvent, parseJournal } from './history.ts';
import { listCheckpoints } from './list.ts';
import { placeOf, type StorageOptions } from './place.ts';
import { folderOf, lastPart } from './stored-document.ts';
import { type CheckpointSummary, groupedByFolder, oldestFirst } from './summary.ts';

/** More of a journal than this is not read: Highwater's own are trimmed to less. In bytes. */
const MOST_BYTES = 16 * 2 ** 20;

/** How many folders above a file its journal is looked for: names may make folders. */
const MOST_LEVELS = 8;

/** What happened to the checkpoints of one folder. */
export interface History {
  /** As its storage takes it. */
  readonly folder: string;
  /** Where the events come from: the journal, or, without one, what the files that are there say. */
  readonly source: 'journal' | 'files';
  /** In the order in which they happened. */
  readonly events: readonly HistoryEvent[];
  /** The checkpoints that are there now, by {@link listCheckpoints}. */
  readonly checkpoints: readonly CheckpointSummary[];
}

/** The history of one file. */
export interface FileHistory extends History {
  /** Null when no event mentions the file. */
  readonly fate: FileFate | null;
  /** The file as it is now; null when it is gone. */
  readonly checkpoint: CheckpointSummary | null;
}

/**
 * What happened in a folder of checkpoints and in those below it: one history for each folder that has a
 * journal or, when none has one, for each that has checkpoints.
 *
 * @throws StorageError when the folder cannot be listed.
 */
export async function readHistory(
  folder: string | URL,
  options: StorageOptions = {},
): Promise<readonly History[]> {
  const { storage, path } = await placeOf(folder, options);
  const { checkpoints } = await listCheckpoints(path, { storage });
  const found: History[] = [];
  for await (const place of foldersBelow(storage, path)) {
    const events = await journalIn(storage, place);
    if (events === undefined) continue;
    const inside = checkpoints.filter((checkpoint) => checkpoint.path.startsWith(`${place}/`));
    found.push({ folder: place, source: 'journal', events, checkpoints: inside });
  }
  if (found.length > 0) return found.sort((a, b) => (a.folder < b.folder ? -1 : 1));
  return [...groupedByFolder(checkpoints)].map(([place, inside]) => ({
    folder: place,
    source: 'files' as const,
    events: eventsOf(inside),
    checkpoints: inside,
  }));
}

/**
 * What happened to a file, which may be gone: by the journal of the folder it lies or lay in, else by what
 * the files beside it say.
 *
 * @throws HighwaterError (`CHECKPOINT_NOT_FOUND`) when neither the file nor any mention of it is there.
 */
export async function readFileHistory(
  file: string | URL,
  options: StorageOptions = {},
): Promise<FileHistory> {
  const { storage, path } = await placeOf(file, options);
  const folder = (await journalFolder(storage, folderOf(path))) ?? folderOf(path);
  const isThere = (await storage.stat(folder))?.kind === 'folder';
  const [history] = isThere
    ? (await readHistory(folder, { storage })).filter((found) => found.folder === folder)
    : [];
  const fate = history === undefined ? undefined : fateOf(history.events, folder, path);
  const checkpoint = history?.checkpoints.find((found) => found.path === path);
  if (history === undefined || (fate === undefined && checkpoint === undefined)) {
    throw new HighwaterError(
      'CHECKPOINT_NOT_FOUND',
      `There is no file '${path}', and no history mentions it.`,
      { details: { path } },
    );
  }
  return { ...history, fate: fate ?? null, checkpoint: checkpoint ?? null };
}

/** The folder, this one or one above it, whose journal tells of the files in it; undefined without one. */
export async function journalFolder(storage: Storage, folder: string): Promise<string | undefined> {
  let place = folder;
  for (let level = 0; level <= MOST_LEVELS && place !== ''; level++) {
    if ((await storage.stat(journalPath(place)))?.kind === 'file') return place;
    place = folderOf(place);
  }
  return undefined;
}

async function journalIn(
  storage: Storage,
  folder: string,
): Promise<readonly HistoryEvent[] | undefined> {
  const entry = await storage.stat(journalPath(folder));
  if (entry?.kind !== 'file') return undefined;
  const offset = Math.max(0, entry.sizeBytes - MOST_BYTES);
  const bytes = await storage.read(entry.path, { offset, length: MOST_BYTES });
  return parseJournal(new TextDecoder().decode(bytes));
}

async function* foldersBelow(storage: Storage, folder: string): AsyncGenerator<string> {
  yield folder;
  for await (const { path, kind } of storage.list(folder)) {
    const name = lastPart(path);
    if (kind === 'folder' && !name.startsWith('.') && name !== 'node_modules') {
      yield* foldersBelow(storage, path);
    }
  }
}

/** That they were saved is all that files can tell. */
function eventsOf(checkpoints: readonly CheckpointSummary[]): readonly HistoryEvent[] {
  return [...checkpoints].sort(oldestFirst).map((checkpoint) => ({
    kind: 'saved' as const,
    at: checkpoint.savedAt,
    epoch: checkpoint.epoch,
    globalStep: checkpoint.globalStep,
    path: checkpoint.path,
    role: checkpoint.last ? 'last' : checkpoint.rank === null ? null : 'topK',
    monitor: checkpoint.monitor,
    score: checkpoint.score,
    worstKept: null,
    reason: null,
  }));
}
