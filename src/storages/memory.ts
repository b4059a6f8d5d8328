import { fault, folderOf, joined, memoryTree, normal, wayFrom } from './memory/tree.ts';
import { memoryWriter } from './memory/writer.ts';
import type { ByteRange, Storage, StorageEntry } from './storage.ts';

/**
 * Checkpoints in this process's memory: for tests, and for browsers, where they last as long as the page.
 * Each call makes an empty storage. Behaves like files on a disk, links included, except that nothing
 * outlives the process, that nothing is left to sweep, and that links to folders are not followed.
 * Failures are `StorageError`s with the same kinds.
 */
export function memoryFiles(): Storage {
  const tree = memoryTree();

  function entryAt(path: string): StorageEntry | undefined {
    const node = tree.find(path);
    if (node === undefined) return undefined;
    const { kind, modifiedAtMs } = node;
    if (kind === 'folder') return { path, kind, sizeBytes: 0, modifiedAtMs };
    if (kind === 'file') return { path, kind, sizeBytes: node.bytes.byteLength, modifiedAtMs };
    const target = joined(folderOf(path), node.way);
    const behind = tree.find(target)?.kind === 'folder' ? undefined : tree.findFile(path);
    return { path, kind, sizeBytes: behind?.bytes.byteLength ?? 0, modifiedAtMs, target };
  }

  function fileAt(path: string): { readonly bytes: Uint8Array } {
    const file = tree.findFile(path);
    if (file === undefined) throw fault('NotFound', path, 'there is no such file');
    return file;
  }

  return {
    name: 'memory',
    supportsSymlinks: true,

    async writer(path) {
      tree.makeFolder(folderOf(path));
      return memoryWriter(tree, path);
    },
    async read(path, range) {
      return fileAt(path).bytes.slice(...bounds(path, range));
    },
    async readParts(path, ranges, each) {
      const { bytes } = fileAt(path);
      const parts = ranges.map((range) => bytes.slice(...bounds(path, range)));
      for (const [i, part] of parts.entries()) each(i, part);
    },
    async stat(path) {
      return entryAt(path);
    },
    async *list(folder) {
      const node = tree.find(folder);
      if (node === undefined) return;
      if (node.kind !== 'folder') throw fault('NotAFolder', folder, 'it is not a folder');
      for (const name of tree.names(folder)) {
        const entry = entryAt(folder.endsWith('/') ? folder + name : `${folder}/${name}`);
        if (entry !== undefined) yield entry;
      }
    },
    async link(from, to, options) {
      const node = tree.find(from);
      if (node === undefined) throw fault('NotFound', from, 'there is no such file');
      if (node.kind === 'folder') return false;
      tree.put(to, node, options);
      return true;
    },
    async symlink(target, path, options) {
      const way = target.startsWith('/') ? wayFrom(folderOf(path), target) : target;
      tree.put(path, { kind: 'link', way, modifiedAtMs: Date.now() }, options);
    },
    async remove(path) {
      return tree.remove(path);
    },
    async rename(from, to) {
      const node = tree.find(from);
      if (node === undefined) throw fault('NotFound', from, 'there is no such file');
      if (node.kind === 'folder') throw fault('Conflict', from, 'it is a folder');
      tree.put(to, node, { replace: true });
      if (normal(from) !== normal(to)) tree.remove(from);
    },
    async append(path, text) {
      const before = tree.findFile(path)?.bytes ?? new Uint8Array();
      const start = before.length > 0 && before.at(-1) !== LINE_FEED ? '\n' : '';
      const added = new TextEncoder().encode(start + text);
      const bytes = new Uint8Array(before.byteLength + added.byteLength);
      bytes.set(before);
      bytes.set(added, before.byteLength);
      tree.put(path, { kind: 'file', bytes, modifiedAtMs: Date.now() }, { replace: true });
    },
    async prepare(folder) {
      tree.makeFolder(folder);
    },
    async sweep() {
      return [];
    },
  };
}

const LINE_FEED = 10;

/** The start and the end of a range, as `slice` takes them. */
function bounds(path: string, range: ByteRange | undefined): [start: number, end?: number] {
  if (range === undefined) return [0];
  const { offset, length } = range;
  if (!isCount(offset) || !isCount(length)) {
    const reason = `offset ${offset} and length ${length} must be integers of at least 0`;
    throw fault('Other', path, reason);
  }
  return [offset, offset + length];
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
