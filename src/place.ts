import { absoluteFolder } from './checkpoint/folder.ts';
import { MisconfigurationError, StorageError } from './errors.ts';
import type { OptionNames } from './option-check.ts';
import { whereabouts } from './saving/whereabouts.ts';
import type { Storage } from './storages/storage.ts';

/** Where checkpoints are looked for. */
export interface StorageOptions {
  /** Where the paths lead. Default: local files, which need Node. */
  readonly storage?: Storage | undefined;
}

export const STORAGE_NAMES: OptionNames<StorageOptions> = {
  storage: true,
};

/** A path as its storage takes it. */
export interface Place {
  readonly storage: Storage;
  readonly path: string;
}

/**
 * Where a path leads: `~` expands, what is relative is so to the working folder, and a `file:` URL is its
 * path. With a `storage` of one's own its URLs are passed on as they are.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for an empty path, and without a `storage` for a URL
 * that is not a local file.
 */
export async function placeOf(path: string | URL, options: StorageOptions): Promise<Place> {
  const given = String(path);
  if (given === '') throw new MisconfigurationError('A path is empty: name a file or a folder.');
  const storage = options.storage;
  if (storage === undefined) checkIsLocal(given);
  return { storage: storage ?? (await localStorage()), path: spell(given) };
}

/**
 * Refuses a name that a file cannot be written under, before the work is done. (Whoever publishes the file looks
 * again.)
 *
 * @throws StorageError (`STORAGE_CONFLICT`) when it is taken and not to be replaced; MisconfigurationError
 * (`MISCONFIGURATION`) when a folder has it.
 */
export async function refuseTaken({ storage, path }: Place, isReplacing: boolean): Promise<void> {
  const entry = await storage.stat(path);
  if (entry === undefined) return;
  if (entry.kind === 'folder') {
    throw new MisconfigurationError(`'${path}' is a folder: name the file that is to be written.`, {
      details: { path },
    });
  }
  if (!isReplacing) throw new StorageError('Conflict', path, `'${path}' is there already.`);
}

/** Loaded when it is needed, so that a page that brings its own storage has nothing to do with Node. */
async function localStorage(): Promise<Storage> {
  const { localFiles } = await import('./storages/local.ts');
  return localFiles();
}

function checkIsLocal(given: string): void {
  const [, scheme] = /^([a-z][a-z\d+.-]+):\/\//i.exec(given) ?? [];
  if (scheme === undefined) return;
  const isFile = scheme.toLowerCase() === 'file';
  if (isFile && ['', 'localhost'].includes(new URL(given).hostname)) return;
  throw new MisconfigurationError(
    isFile
      ? `'${given}' names a file of another machine. A file: URL has three slashes: file:///folder/file.ckpt.`
      : `'${given}': there is no storage for ${scheme}:// URLs. Paths and file:// URLs work; give any other ` +
          `storage of yours to the functions of 'highwater/inspect'.`,
    { details: { path: given } },
  );
}

function spell(given: string): string {
  try {
    return absoluteFolder(given, whereabouts());
  } catch (cause) {
    throw new MisconfigurationError(`'${given}' is no URL: it holds a % that escapes nothing.`, {
      details: { path: given },
      cause,
    });
  }
}
