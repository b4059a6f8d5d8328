import { lastPart } from '../checkpoint/folder.ts';
import { eachAtOnce } from '../each-at-once.ts';
import { CheckpointFileError, HighwaterError, StorageError } from '../errors.ts';
import type { Storage } from '../storages/storage.ts';
import { CheckpointReader } from './checkpoint-reader.ts';
import { orderOf, type SaveOrder, type StoredName, storedSave } from './stored-save.ts';

/** How many files are opened together. */
const AT_ONCE = 32;

/** A folder of checkpoints. */
export interface CheckpointFolder {
  readonly path: string;
  /** How many folders deep its names go (`{epoch}/{step}`: 1). */
  readonly depth: number;
  /** What names of checkpoints end in: all else in the folder is somebody else's, and so is all when it is `''`. */
  readonly extensions: readonly string[];
}

/** A checkpoint that was found. */
export interface FoundCheckpoint extends SaveOrder {
  readonly reader: CheckpointReader;
}

/**
 * The newest whole checkpoint in some folders that can be resumed from, of whatever name: by `globalStep`,
 * then by the order of saving. One that is damaged is set aside as `<name>.corrupt` and reported.
 */
export async function findNewest(
  storage: Storage,
  folders: readonly CheckpointFolder[],
  warn: (message: string) => void,
): Promise<FoundCheckpoint | undefined> {
  const found: FoundFile[] = [];
  for (const folder of folders) {
    await eachAtOnce(checkpointsIn(storage, folder), AT_ONCE, async (path) => {
      const reader = await openOrSetAside(storage, path, warn);
      if (reader?.isResumable) found.push({ path, ...orderOf(reader.document) });
    });
  }
  found.sort(newestFirst);
  for (const { path, globalStep, sequence } of found) {
    try {
      const reader = await CheckpointReader.open(storage, path);
      await reader.verify();
      return { reader, globalStep, sequence };
    } catch (error) {
      await setAside(storage, path, error, warn);
    }
  }
  return undefined;
}

/** A checkpoint that was found, without what is in it: there may be 100,000. */
interface FoundFile extends SaveOrder {
  readonly path: string;
}

/** Two names of one save are told apart by their paths, so that the answer is always the same. */
function newestFirst(a: FoundFile, b: FoundFile): number {
  return b.globalStep - a.globalStep || b.sequence - a.sequence || (a.path < b.path ? -1 : 1);
}

async function* checkpointsIn(
  storage: Storage,
  { path: folder, depth, extensions }: CheckpointFolder,
): AsyncGenerator<string> {
  for await (const { path, kind } of storage.list(folder)) {
    const name = lastPart(path);
    if (kind === 'folder') {
      if (depth > 0 && !name.startsWith('.')) {
        yield* checkpointsIn(storage, { path, depth: depth - 1, extensions });
      }
    } else if (kind === 'file' && extensions.some((end) => end !== '' && name.endsWith(end))) {
      yield path;
    }
  }
}

/** Removes what dead writers left, in a folder and in those that its names go down to. */
export async function sweepFolder(
  storage: Storage,
  { path: folder, depth }: Pick<CheckpointFolder, 'path' | 'depth'>,
): Promise<void> {
  await storage.sweep(folder);
  if (depth === 0) return;
  for await (const { path, kind } of storage.list(folder)) {
    if (kind === 'folder') await sweepFolder(storage, { path, depth: depth - 1 });
  }
}

/**
 * The files of some callbacks that are newer than a step: what a run that went back on purpose left ahead
 * of it. A file that cannot be read is nobody's.
 */
export async function filesAfter(
  storage: Storage,
  folder: CheckpointFolder,
  globalStep: number,
  stateKeys: ReadonlySet<string>,
): Promise<readonly string[]> {
  const newer: string[] = [];
  await eachAtOnce(checkpointsIn(storage, folder), AT_ONCE, async (path) => {
    const said = await saidBy(storage, path);
    const isTheirs = said?.names.some(({ stateKey = '' }) => stateKeys.has(stateKey));
    if (isTheirs && said !== undefined && said.globalStep > globalStep) newer.push(path);
  });
  return newer.sort();
}

/** A ranked file of a callback, by what the file itself says. */
export interface RankedFile {
  readonly path: string;
  readonly score: number;
}

/**
 * The ranked files of a callback that were saved up to a moment (`sequence`, inclusive), the oldest first.
 * For states that keep so many files that a checkpoint does not list them.
 */
export async function rankedFiles(
  storage: Storage,
  folder: CheckpointFolder,
  stateKey: string,
  sequence: number,
): Promise<readonly RankedFile[]> {
  const found: (RankedFile & { readonly sequence: number })[] = [];
  const look = async (path: string): Promise<void> => {
    const said = await saidBy(storage, path);
    const name = said?.names.find((name) => name.path === path && name.stateKey === stateKey);
    if (said === undefined || name?.score === undefined || said.sequence > sequence) return;
    found.push({ path, score: name.score, sequence: said.sequence });
  };
  await eachAtOnce(checkpointsIn(storage, folder), AT_ONCE, look);
  return found.sort((a, b) => a.sequence - b.sequence);
}

/** What a file says of its own save; undefined for one that cannot be read as a checkpoint. */
async function saidBy(
  storage: Storage,
  path: string,
): Promise<(SaveOrder & { readonly names: readonly StoredName[] }) | undefined> {
  try {
    const { document } = await CheckpointReader.open(storage, path);
    return { ...orderOf(document), names: storedSave(document).names };
  } catch (error) {
    if (error instanceof CheckpointFileError || isGone(error)) return undefined;
    throw error;
  }
}

/** Another process of this folder has removed the file meanwhile. */
function isGone(error: unknown): boolean {
  if (error instanceof StorageError) return error.kind === 'NotFound';
  return error instanceof HighwaterError && error.code === 'CHECKPOINT_NOT_FOUND';
}

async function openOrSetAside(
  storage: Storage,
  path: string,
  warn: (message: string) => void,
): Promise<CheckpointReader | undefined> {
  try {
    return await CheckpointReader.open(storage, path);
  } catch (error) {
    await setAside(storage, path, error, warn);
    return undefined;
  }
}

/**
 * Only a file that is damaged moves. One of another format is somebody's, and is reported; one that is merely
 * newer than this version stays, and is an error.
 */
async function setAside(
  storage: Storage,
  path: string,
  error: unknown,
  warn: (message: string) => void,
): Promise<void> {
  if (isGone(error)) return;
  if (!(error instanceof CheckpointFileError) || error.code === 'CHECKPOINT_VERSION') throw error;
  if (error.code === 'CHECKPOINT_FOREIGN') {
    warn(`${error.message}. It is left as it is, and not resumed from.`);
    return;
  }
  let aside = `${path}.corrupt`;
  for (let n = 1; (await storage.stat(aside)) !== undefined; n++) aside = `${path}.corrupt-${n}`;
  await storage.rename(path, aside);
  warn(`${error.message} It is set aside as '${aside}'.`);
}
