import { eachAtOnce } from '../each-at-once.ts';
import { CheckpointFileError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import type { Storage } from '../storages/storage.ts';
import { CheckpointReader } from './checkpoint-reader.ts';

/** How many files are opened together. */
const AT_ONCE = 32;

/** A folder of checkpoints, and how many folders deep its names go (`{epoch}/{step}`: 1). */
export interface CheckpointFolder {
  readonly path: string;
  readonly depth: number;
}

/** When a checkpoint was saved. */
interface SaveOrder {
  readonly globalStep: number;
  /** Counts the saves of a run, its resumes included. */
  readonly sequence: number;
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
      if (reader?.isResumable) found.push({ path, ...orderOf(reader.document ?? {}) });
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
  { path: folder, depth }: CheckpointFolder,
): AsyncGenerator<string> {
  for await (const { path, kind } of storage.list(folder)) {
    const name = path.slice(path.lastIndexOf('/') + 1);
    if (kind === 'folder') {
      if (depth > 0 && !name.startsWith('.')) {
        yield* checkpointsIn(storage, { path, depth: depth - 1 });
      }
    } else if (kind === 'file' && name.endsWith('.ckpt')) {
      yield path;
    }
  }
}

/** Removes what dead writers left, in a folder and in those that its names go down to. */
export async function sweepFolder(
  storage: Storage,
  { path: folder, depth }: CheckpointFolder,
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
    const document = await documentIn(storage, path);
    const save = document?.save as StoredSave | undefined;
    const isTheirs = save?.names?.some(({ stateKey = '' }) => stateKeys.has(stateKey));
    if (isTheirs && orderOf(document ?? {}).globalStep > globalStep) newer.push(path);
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
    const document = await documentIn(storage, path);
    const order = orderOf(document ?? {});
    const save = document?.save as StoredSave | undefined;
    const name = save?.names?.find((name) => name.path === path && name.stateKey === stateKey);
    if (name?.score === undefined || order.sequence > sequence) return;
    found.push({ path, score: name.score, sequence: order.sequence });
  };
  await eachAtOnce(checkpointsIn(storage, folder), AT_ONCE, look);
  return found.sort((a, b) => a.sequence - b.sequence);
}

/** What a file says of itself; undefined for one that cannot be read as a checkpoint. */
async function documentIn(storage: Storage, path: string): Promise<JsonObject | undefined> {
  try {
    return (await CheckpointReader.open(storage, path)).document;
  } catch (error) {
    if (error instanceof CheckpointFileError) return undefined;
    throw error;
  }
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

/** Only a file that is damaged moves; one that is merely newer than this version, or gone, stays. */
async function setAside(
  storage: Storage,
  path: string,
  error: unknown,
  warn: (message: string) => void,
): Promise<void> {
  if (!(error instanceof CheckpointFileError) || error.code !== 'CHECKPOINT_INVALID') throw error;
  let aside = `${path}.corrupt`;
  for (let n = 1; (await storage.stat(aside)) !== undefined; n++) aside = `${path}.corrupt-${n}`;
  await storage.rename(path, aside);
  warn(`${error.message} It is set aside as '${aside}'.`);
}

function orderOf(document: JsonObject): SaveOrder {
  const { globalStep, sequence } = document;
  return { globalStep: Number(globalStep ?? 0), sequence: Number(sequence ?? 0) };
}

/**
 * Finishes the hook in which a checkpoint was saved, when a crash cut it short: gives the file the names
 * that are missing or still hold an older save, then removes what was to go. Nothing outside `isOwn`.
 */
export async function finishSave(
  storage: Storage,
  reader: CheckpointReader,
  isOwn: (path: string) => boolean,
): Promise<void> {
  const save = reader.document?.save as StoredSave | undefined;
  if (save === undefined) return;
  for (const { path, linkTo, weightsOnly } of save.names ?? []) {
    if (path === reader.path || weightsOnly === true || !isOwn(path)) continue;
    if (
      linkTo === undefined
        ? await holds(storage, path, reader)
        : (await storage.stat(path))?.target === linkTo
    ) {
      continue;
    }
    if (linkTo !== undefined && isOwn(linkTo))
      await storage.symlink(linkTo, path, { replace: true });
    else if (linkTo === undefined && !(await storage.link(reader.path, path, { replace: true }))) {
      await copyFile(storage, reader.path, path);
    }
  }
  for (const path of save.removals ?? []) if (isOwn(path)) await storage.remove(path);
}

interface StoredSave {
  readonly names?: readonly {
    readonly path: string;
    readonly linkTo?: string;
    readonly weightsOnly?: boolean;
    readonly stateKey?: string;
    readonly score?: number;
  }[];
  readonly removals?: readonly string[];
}

/** Whether a name holds this very save already. A file there that is no checkpoint is left alone. */
async function holds(storage: Storage, path: string, reader: CheckpointReader): Promise<boolean> {
  if ((await storage.stat(path)) === undefined) return false;
  try {
    const there = orderOf((await CheckpointReader.open(storage, path)).document ?? {});
    const here = orderOf(reader.document ?? {});
    return there.globalStep >= here.globalStep && there.sequence >= here.sequence;
  } catch {
    return true;
  }
}

async function copyFile(storage: Storage, from: string, to: string): Promise<void> {
  const writer = await storage.writer(to);
  try {
    await writer.write([await storage.read(from)]);
    await writer.publish({ replace: true });
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
