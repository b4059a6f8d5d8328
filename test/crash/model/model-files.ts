import { systemError } from '../../../src/storages/local/fault.ts';
import type { FileStatus, FileSystem, OpenFile } from '../../../src/storages/local/file-system.ts';
import { isTemporaryName } from '../../../src/storages/local/temporary-name.ts';
import { type Change, FileNode, FolderNode, type LinkNode, type Node } from './disk.ts';

/** Called before each change of the disk: the moments between two effects. */
export type BeforeEffect = (effect: string) => void;

/** The operating system's calls on a disk of the model. */
export function modelFiles(root: FolderNode, beforeEffect: BeforeEffect = () => {}): FileSystem {
  let lastId = 1_000_000;

  function found(path: string): Node | undefined {
    let node: Node | undefined = root;
    for (const part of partsOf(path)) {
      if (node === undefined) return undefined;
      if (node.kind !== 'folder') throw systemError('ENOTDIR');
      node = node.entries.get(part);
    }
    return node;
  }

  function at(path: string): Node {
    const node = found(path);
    if (node === undefined) throw systemError('ENOENT');
    return node;
  }

  /** Follows links at the path's end; none of the workloads has a link to a folder. */
  function behind(path: string): Node {
    let target = path;
    for (let hops = 0; hops < 40; hops++) {
      const node = at(target);
      if (node.kind !== 'link') return node;
      target = node.target.startsWith('/') ? node.target : `${parentOf(target)}/${node.target}`;
    }
    throw systemError('ELOOP');
  }

  function folderOf(path: string): FolderNode {
    const folder = found(parentOf(path));
    if (folder === undefined) throw systemError('ENOENT');
    if (folder.kind !== 'folder') throw systemError('ENOTDIR');
    return folder;
  }

  /** Gives the path to `node`, or takes it from what has it. */
  function name(path: string, node: Node | undefined): [FolderNode, string, Node | undefined] {
    return [folderOf(path), nameOf(path), node];
  }

  /** Makes changes of names; those in one folder are one. */
  function change(effect: string, ...names: [FolderNode, string, Node | undefined][]): void {
    beforeEffect(effect);
    const changes = new Map<FolderNode, Map<string, Node | undefined>>();
    for (const [folder, entry, node] of names) {
      const old = folder.entries.get(entry);
      if (old?.kind === 'file') old.names -= 1;
      if (node?.kind === 'file') node.names += 1;
      changes.set(folder, (changes.get(folder) ?? new Map()).set(entry, node));
    }
    for (const [folder, one] of changes) folder.change(one as Change);
  }

  function mustBeFree(path: string): void {
    if (folderOf(path).entries.has(nameOf(path))) throw systemError('EEXIST');
  }

  function opened(path: string, file: Node): OpenFile {
    return {
      async writev(views, position) {
        if (file.kind !== 'file') throw systemError('EISDIR');
        beforeEffect(`write ${path}`);
        const bytes = new Uint8Array(Buffer.concat(views));
        const start = position ?? file.bytes.length;
        file.write({ position: start, bytes, cuts: cutsOf(views) });
        return bytes.length;
      },
      async read(into, position) {
        if (file.kind !== 'file') throw systemError('EISDIR');
        const bytes = file.bytes.subarray(position, position + into.length);
        into.set(bytes);
        return bytes.length;
      },
      status: async () => statusOf(file),
      async datasync() {
        beforeEffect(`datasync ${path}`);
        if (file.kind === 'file') file.sync();
      },
      async close() {},
    };
  }

  return {
    async open(path, mode) {
      if (mode === 'read') {
        if (isTemporaryName(nameOf(path))) throw new Error(`nobody is to read ${path}`);
        return opened(path, behind(path));
      }
      if (mode === 'create') mustBeFree(path);
      else if (found(path) !== undefined) return opened(path, behind(path));
      const file = new FileNode(++lastId, new Uint8Array());
      change(`create ${path}`, name(path, file));
      return opened(path, file);
    },
    async rename(from, to) {
      const node = at(from);
      const old = found(to);
      if (old?.kind === 'folder' && node.kind !== 'folder') throw systemError('EISDIR');
      // Two names of one file: POSIX does nothing, and leaves both.
      if (old === node) return;
      change(`rename ${from} ${to}`, name(from, undefined), name(to, node));
    },
    async link(from, to) {
      const node = at(from);
      if (node.kind !== 'file') throw systemError('EPERM');
      mustBeFree(to);
      change(`link ${from} ${to}`, name(to, node));
    },
    async symlink(target, path) {
      mustBeFree(path);
      const link: LinkNode = { kind: 'link', id: ++lastId, target };
      change(`symlink ${target} ${path}`, name(path, link));
    },
    async readlink(path) {
      const node = at(path);
      if (node.kind !== 'link') throw systemError('EINVAL');
      return node.target;
    },
    async unlink(path) {
      if (at(path).kind === 'folder') throw systemError('EISDIR');
      change(`unlink ${path}`, name(path, undefined));
    },
    async mkdir(path) {
      mustBeFree(path);
      change(`mkdir ${path}`, name(path, new FolderNode(++lastId)));
    },
    lstat: async (path) => statusOf(at(path)),
    stat: async (path) => statusOf(behind(path)),
    async *names(path) {
      const folder = behind(path);
      if (folder.kind !== 'folder') throw systemError('ENOTDIR');
      yield* folder.entries.keys();
    },
    async syncFolder(path) {
      const folder = behind(path);
      beforeEffect(`syncFolder ${path}`);
      if (folder.kind === 'folder') folder.sync();
    },
    freeBytes: async () => 1_000_000,
  };
}

/** Long ago, so that what nobody owns counts as abandoned. */
const MODIFIED_AT_MS = 0;

function statusOf(node: Node): FileStatus {
  return {
    kind: node.kind,
    sizeBytes: node.kind === 'file' ? node.bytes.length : 0,
    modifiedAtMs: MODIFIED_AT_MS,
    identity: String(node.id),
    names: node.kind === 'file' ? node.names : 1,
  };
}

/** Where one call that writes several views may be cut: between two of them, and within the last. */
function cutsOf(views: readonly Uint8Array[]): number[] {
  const ends: number[] = [];
  let end = 0;
  for (const view of views) {
    end += view.length;
    ends.push(end);
  }
  const last = views.at(-1)?.length ?? 0;
  const middle = end - Math.ceil(last / 2);
  return [...new Set([...ends.slice(0, -1), middle])].filter((cut) => cut > 0 && cut < end);
}

const partsOf = (path: string): string[] => path.split('/').filter((part) => part !== '');
const parentOf = (path: string): string => path.slice(0, path.lastIndexOf('/')) || '/';
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
