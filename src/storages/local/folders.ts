import { dirname } from 'node:path';
import { codeOf, systemError } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { inside } from './path.ts';
import { temporaryName } from './temporary-name.ts';
import { writeAll } from './write-all.ts';

/** Makes folders that outlive a power cut. */
export interface Folders {
  /**
   * Does `work` in `folder`, which is made where it is missing, with the folders it lies in. When it turns out
   * that somebody has removed it meanwhile, `work` is done a second time.
   */
  within<T>(folder: string, work: () => Promise<T>): Promise<T>;
}

/** What flushing a folder says when it is not ours: then we did not make what is in it either. */
const NOT_OURS: readonly unknown[] = ['EACCES', 'EPERM', 'EROFS'];

/**
 * A file is only as durable as the names of the folders above it. A folder that is already there may have
 * been made a moment ago by a process which died, or has not yet flushed it: so each folder's name is
 * flushed the first time this storage meets it, whoever made it, all the way up.
 */
export function durableFolders(fs: FileSystem): Folders {
  const durable = new Set<string>();

  async function make(folder: string): Promise<void> {
    const isThere = await isFolder(fs, folder);
    if (isThere && durable.has(folder)) return;
    const parent = dirname(folder);
    if (parent !== folder) {
      await make(parent);
      const isNew = !isThere && (await makeOne(fs, folder));
      await flush(fs, parent, isNew);
    }
    durable.add(folder);
  }

  async function within<T>(folder: string, work: () => Promise<T>): Promise<T> {
    if (!durable.has(folder)) await make(folder);
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || (await isFolder(fs, folder))) throw error;
      await make(folder);
      return await work();
    }
  }

  return { within };
}

/** False when there is nothing of that name. */
async function isFolder(fs: FileSystem, path: string): Promise<boolean> {
  try {
    if ((await fs.stat(path)).kind === 'folder') return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
  throw systemError('ENOTDIR');
}

/** False when another process has just made it. */
async function makeOne(fs: FileSystem, folder: string): Promise<boolean> {
  try {
    await fs.mkdir(folder);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
  }
  // What is there and yet leads nowhere is a dangling link.
  if (!(await isFolder(fs, folder))) throw systemError('ENOTDIR');
  return false;
}

async function flush(fs: FileSystem, folder: string, mustWork: boolean): Promise<void> {
  try {
    await fs.syncFolder(folder);
  } catch (error) {
    if (mustWork || !NOT_OURS.includes(codeOf(error))) throw error;
  }
}

/** Makes a file of one byte in the folder, and removes it: rights, quotas and read-only disks all tell. */
export async function tryFolder(fs: FileSystem, folder: string): Promise<void> {
  const path = inside(folder, temporaryName());
  const file = await fs.open(path, 'create');
  try {
    await writeAll(file, [new Uint8Array(1)], 0).finally(() => file.close());
  } finally {
    await fs.unlink(path);
  }
}
