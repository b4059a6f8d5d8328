import { folderOf, isInside } from '../checkpoint/folder.ts';
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
  for (let at = folderOf(path); isInside(folder, at); at = folderOf(at)) {
    if ((await storage.stat(at))?.kind === 'link') return false;
  }
  return true;
}
