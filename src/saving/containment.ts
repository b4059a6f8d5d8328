import { isInside } from '../checkpoint/folder.ts';
import type { Storage } from '../storages/storage.ts';

/**
 * Whether a path that a file claims is inside a folder on the storage, too: none of the folders on the way to it
 * is a symbolic link, which could lead anywhere. What the path itself names does not matter: a link is removed
 * and replaced as a link.
 */
export async function isContained(
  storage: Storage,
  folder: string,
  path: string,
): Promise<boolean> {
  if (!isInside(folder, path) || path.split('/').includes('..')) return false;
  for (let at = parentOf(path); isInside(folder, at); at = parentOf(at)) {
    if ((await storage.stat(at))?.kind === 'link') return false;
  }
  return true;
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}
