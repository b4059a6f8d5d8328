import { basename, dirname } from 'node:path';
import { codeOf, systemError } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { inside, temporaryBeside } from './path.ts';
import { claimName } from './temporary-name.ts';

// How names are given, replaced and moved. At every instant a name stands for a whole file, the old or
// the new one. Flushing the folder afterwards is the caller's.

/** What `link` says where a file can have one name only, or no further one. */
const NO_SECOND_NAMES: readonly unknown[] = [
  'EPERM',
  'ENOTSUP',
  'EOPNOTSUPP',
  'ENOSYS',
  'EXDEV',
  'EMLINK',
];

/** Gives `from` the further name `to`, unless it is taken (`EEXIST`). False where that cannot be. */
export async function addName(fs: FileSystem, from: string, to: string): Promise<boolean> {
  try {
    await fs.link(from, to);
    return true;
  } catch (error) {
    if (NO_SECOND_NAMES.includes(codeOf(error))) return false;
    throw error;
  }
}

/** Puts what `make` makes under a temporary name in the place of `path`; false when it made nothing. */
export async function replaceBy(
  fs: FileSystem,
  path: string,
  make: (temporary: string) => Promise<boolean>,
): Promise<boolean> {
  const temporary = temporaryBeside(path);
  try {
    const isMade = await make(temporary);
    if (isMade) await fs.rename(temporary, path);
    return isMade;
  } finally {
    // `rename` between two names of one file does nothing and leaves both.
    await fs.unlink(temporary).catch(() => {});
  }
}

/**
 * Gives a finished temporary file a name that must be free (`EEXIST`). Tells whether it still has the temporary
 * one too.
 */
export async function giveNewName(
  fs: FileSystem,
  temporary: string,
  path: string,
): Promise<boolean> {
  if (await addName(fs, temporary, path)) return true;
  await moveByClaim(fs, temporary, path);
  return false;
}

/**
 * The same without hard links (FAT, some network and shared folders), where nothing else is both
 * exclusive and whole: whoever makes the claim file may look whether the name is free, and rename. It
 * holds among Highwater's writers; a stranger who takes the name between the two is overwritten. A claim
 * left by a crash costs the next file a version in its name until it is swept.
 */
async function moveByClaim(fs: FileSystem, temporary: string, path: string): Promise<void> {
  const claim = inside(dirname(path), claimName(basename(path)));
  const file = await fs.open(claim, 'create');
  try {
    await file.close();
    if (await isTaken(fs, path)) throw systemError('EEXIST');
    await fs.rename(temporary, path);
  } finally {
    await fs.unlink(claim).catch(() => {});
  }
}

async function isTaken(fs: FileSystem, path: string): Promise<boolean> {
  try {
    await fs.lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** Moves a file or link to `to`, replacing what is there; afterwards `from` is gone in any case. */
export async function moveName(fs: FileSystem, from: string, to: string): Promise<void> {
  if (await areTwoNamesOfOneFile(fs, from, to)) await fs.unlink(from);
  else await fs.rename(from, to);
}

async function areTwoNamesOfOneFile(fs: FileSystem, from: string, to: string): Promise<boolean> {
  const file = await fs.lstat(from);
  if (file.names < 2 || !(await isTaken(fs, to))) return false;
  if ((await fs.lstat(to)).identity !== file.identity) return false;
  // Not when it is one name, spelt in two ways.
  if (basename(from) !== basename(to)) return true;
  const [folder, other] = [await fs.stat(dirname(from)), await fs.stat(dirname(to))];
  return folder.identity !== other.identity;
}
