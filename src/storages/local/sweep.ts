import { namesOf } from './entries.ts';
import { codeOf } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { isRunning, self } from './owner.ts';
import { inside } from './path.ts';
import { isTemporaryName, ownerOf } from './temporary-name.ts';

const HOUR_MS = 3_600_000;
/**
 * How long a file must have lain untouched before a writer that cannot be seen counts as gone. A host of
 * our name is most likely this one before it was started anew.
 */
const UNSEEN_MS = { ownHost: HOUR_MS, otherHost: 24 * HOUR_MS };

/** Removes the temporary files of writers that are gone; returns their paths. */
export async function sweepFolder(fs: FileSystem, folder: string): Promise<readonly string[]> {
  const swept: string[] = [];
  for await (const name of namesOf(fs, folder)) {
    if (!isTemporaryName(name)) continue;
    const path = inside(folder, name);
    if ((await isAbandoned(fs, path, name)) && (await removed(fs, path))) swept.push(path);
  }
  if (swept.length > 0) await fs.syncFolder(folder);
  return swept;
}

async function isAbandoned(fs: FileSystem, path: string, name: string): Promise<boolean> {
  const owner = ownerOf(name);
  const isAlive = owner && isRunning(owner);
  if (isAlive !== undefined) return !isAlive;
  const limitMs = owner?.host === self.host ? UNSEEN_MS.ownHost : UNSEEN_MS.otherHost;
  try {
    return Date.now() - (await fs.lstat(path)).modifiedAtMs > limitMs;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** False when another process was faster, or when this user may not: neither is worth a failed start. */
async function removed(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.unlink(path);
    return true;
  } catch (error) {
    if (['ENOENT', 'EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '')) return false;
    throw error;
  }
}
