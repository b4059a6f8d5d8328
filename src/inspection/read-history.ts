import { folderOf } from '../checkpoint/folder.ts';
import { HighwaterError } from '../errors.ts';
import { checkOptionNames } from '../option-check.ts';
import { placeOf, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import { journalPath } from '../saving/journal.ts';
import type { Storage } from '../storages/storage.ts';
import { type FileFate, fateOf, type HistoryEvent, mentionsIn, parseJournal } from './history.ts';
import { survey } from './list.ts';
import { type CheckpointSummary, groupedByFolder, oldestFirst } from './summary.ts';

/** More of a journal than this is not read: Highwater's own are trimmed to less. In bytes. */
const MOST_BYTES = 16 * 2 ** 20;

/** How many folders above a file its journal is looked for: names may make folders. */
const MOST_LEVELS = 8;

/** What happened to the checkpoints of one folder. */
export interface History {
  /** As its storage takes it. */
  readonly folder: string;
  /**
   * Where the events come from: the journal, and of checkpoints that it does not say were saved what they say
   * themselves; or, without one, what the files that are there say.
   */
  readonly source: 'journal' | 'files';
  /** In the order in which they happened. */
  readonly events: readonly HistoryEvent[];
  /** The checkpoints that are there now, as in a listing. */
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
 * journal or, without one, checkpoints; by folder.
 *
 * @throws StorageError when the folder cannot be listed.
 */
export async function readHistory(
  folder: string | URL,
  options: StorageOptions = {},
): Promise<readonly History[]> {
  checkOptionNames('readHistory', options, STORAGE_NAMES);
  const { storage, path } = await placeOf(folder, options);
  const { checkpoints, journalFolders } = await survey(storage, path);
  const byFolder = groupedByFolder(checkpoints);
  const histories: History[] = [];
  for (const place of [...new Set([...byFolder.keys(), ...journalFolders])].sort()) {
    const inside = byFolder.get(place) ?? [];
    const journal = await journalIn(storage, place);
    if (journal !== undefined) {
      const events = withUnmentioned(journal, place, inside);
      histories.push({ folder: place, source: 'journal', events, checkpoints: inside });
    } else if (inside.length > 0) {
      const events = eventsOf(inside);
      histories.push({ folder: place, source: 'files', events, checkpoints: inside });
    }
  }
  return histories;
}

/**
 * The events of a journal, and among them, by the time, the saves of checkpoints that are there without a word of it:
 * the journal is younger than they are, has been cut, or something else has written them.
 */
function withUnmentioned(
  journal: readonly HistoryEvent[],
  folder: string,
  checkpoints: readonly CheckpointSummary[],
): readonly HistoryEvent[] {
  const mentionOf = mentionsIn(
    journal.filter(({ kind }) => kind === 'saved'),
    folder,
  );
  const saves = eventsOf(
    checkpoints.filter(
      ({ path, globalStep }) => globalStep !== null && mentionOf(path) === undefined,
    ),
  );
  const timeOf = ({ at }: HistoryEvent): number => Date.parse(at ?? '');
  let next = 0;
  const merged = journal.flatMap((event) => {
    const first = next;
    while (next < saves.length && timeOf(saves[next] as HistoryEvent) < timeOf(event)) next++;
    return [...saves.slice(first, next), event];
  });
  return [...merged, ...saves.slice(next)];
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
  checkOptionNames('readFileHistory', options, STORAGE_NAMES);
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

/** That they were saved is all that files can tell. */
function eventsOf(checkpoints: readonly CheckpointSummary[]): readonly HistoryEvent[] {
  const readable = checkpoints.filter(({ state }) => state !== 'unreadable');
  return readable.sort(oldestFirst).map((checkpoint) => ({
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
