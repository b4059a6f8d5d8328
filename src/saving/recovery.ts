import { CheckpointFileError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import type { Storage } from '../storages/storage.ts';
import { CheckpointReader } from './checkpoint-reader.ts';

/** A folder of checkpoints, and how many folders deep its names go (`{epoch}/{step}`: 1). */
export interface CheckpointFolder {
  readonly path: string;
  readonly depth: number;
}

/** A checkpoint that was found, with the order in which it was saved. */
export interface FoundCheckpoint {
  readonly reader: CheckpointReader;
  readonly globalStep: number;
  readonly sequence: number;
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
  const found: FoundCheckpoint[] = [];
  for (const folder of folders) {
    for await (const path of checkpointsIn(storage, folder)) {
      const reader = await openOrSetAside(storage, path, warn);
      if (reader?.isResumable) found.push({ reader, ...orderOf(reader.document ?? {}) });
    }
  }
  found.sort((a, b) => b.globalStep - a.globalStep || b.sequence - a.sequence);
  for (const candidate of found) {
    try {
      await candidate.reader.verify();
      return candidate;
    } catch (error) {
      await setAside(storage, candidate.reader.path, error, warn);
    }
  }
  return undefined;
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
  for await (const path of checkpointsIn(storage, folder)) {
    let document: JsonObject | undefined;
    try {
      ({ document } = await CheckpointReader.open(storage, path));
    } catch (error) {
      if (error instanceof CheckpointFileError) continue;
      throw error;
    }
    const save = document?.save as StoredSave | undefined;
    const isTheirs = save?.names?.some(({ stateKey = '' }) => stateKeys.has(stateKey));
    if (isTheirs && orderOf(document ?? {}).globalStep > globalStep) newer.push(path);
  }
  return newer.sort();
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

function orderOf(document: JsonObject): { readonly globalStep: number; readonly sequence: number } {
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
