import { StorageError, type StorageErrorKind } from '../../errors.ts';

interface Changed {
  readonly modifiedAtMs: number;
}
/** The bytes are never changed in place, so that two names may share one file. */
export type FileNode = Changed & { readonly kind: 'file'; readonly bytes: Uint8Array };
/** `way` leads from the folder of the link to its target. */
export type LinkNode = Changed & { readonly kind: 'link'; readonly way: string };
export type TreeNode = FileNode | LinkNode | (Changed & { readonly kind: 'folder' });

/** More links in a row than this count as a circle. */
const MAX_LINKS = 40;

/** Files, folders and links by their normal path. Links to folders are not followed. */
export interface Tree {
  find(path: string): TreeNode | undefined;
  /** The file that a path leads to over any links, or undefined. */
  findFile(path: string): FileNode | undefined;
  /** Gives `node` a name, making its folders. Throws `Conflict` for a name that cannot be had. */
  put(path: string, node: TreeNode, options: { readonly replace: boolean }): void;
  makeFolder(path: string): void;
  /** False when there was none. */
  remove(path: string): boolean;
  /** The names directly in a folder. */
  names(path: string): string[];
}

export function memoryTree(): Tree {
  const nodes = new Map<string, TreeNode>();

  function find(path: string): TreeNode | undefined {
    const key = normal(path);
    return isTop(key) ? { kind: 'folder', modifiedAtMs: 0 } : nodes.get(key);
  }

  function findFile(path: string): FileNode | undefined {
    let node = find(path);
    let at = path;
    for (let links = 0; node?.kind === 'link' && links < MAX_LINKS; links++) {
      at = joined(folderOf(at), node.way);
      node = find(at);
    }
    if (node?.kind === 'folder') throw fault('Conflict', path, 'it is a folder');
    return node?.kind === 'file' ? node : undefined;
  }

  function makeFolder(path: string): void {
    const found = find(path);
    if (found?.kind === 'folder') return;
    if (found !== undefined) throw fault('NotAFolder', path, 'it is not a folder');
    makeFolder(folderOf(path));
    nodes.set(normal(path), { kind: 'folder', modifiedAtMs: Date.now() });
  }

  return {
    find,
    findFile,
    makeFolder,
    put(path, node, { replace }) {
      makeFolder(folderOf(path));
      const found = find(path);
      if (found?.kind === 'folder') throw fault('Conflict', path, 'it is a folder');
      if (found !== undefined && !replace) throw fault('Conflict', path, 'the name is taken');
      nodes.set(normal(path), node);
    },
    remove(path) {
      if (find(path)?.kind === 'folder') throw fault('Conflict', path, 'it is a folder');
      return nodes.delete(normal(path));
    },
    names(path) {
      const folder = normal(path);
      const inside = [...nodes.keys()].filter((key) => !isTop(key) && folderOf(key) === folder);
      return inside.map((key) => key.slice(key.lastIndexOf('/') + 1));
    },
  };
}

export function fault(kind: StorageErrorKind, path: string, reason: string): StorageError {
  return new StorageError(kind, path, `Cannot use ${path} in memory: ${reason}.`);
}

export function folderOf(path: string): string {
  return normal(`${path}/..`);
}

/** Where `way` leads from `folder`; an absolute way stands for itself. */
export function joined(folder: string, way: string): string {
  return normal(way.startsWith('/') ? way : `${folder}/${way}`);
}

/** The way from `folder` to the absolute path `target`. */
export function wayFrom(folder: string, target: string): string {
  const from = normal(folder).split('/');
  const to = normal(target).split('/');
  let same = 0;
  while (same < from.length && from[same] === to[same]) same += 1;
  return [...from.slice(same).map(() => '..'), ...to.slice(same)].join('/');
}

/** Without `.`, `..`, empty parts and a `/` at the end. */
export function normal(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!path.startsWith('/')) parts.push('..');
  }
  return (path.startsWith('/') ? '/' : '') + parts.join('/');
}

/** The root, or the folder that relative paths start from, or one above it: always there. */
function isTop(key: string): boolean {
  return key === '' || key === '/' || key === '..' || key.endsWith('/..');
}
