import { self } from '../../../src/storages/local/owner.ts';
import {
  isTemporaryName,
  ownerOf,
  temporaryName,
} from '../../../src/storages/local/temporary-name.ts';
import {
  changed,
  FileNode,
  FolderNode,
  type LinkNode,
  type Node,
  type Write,
  written,
} from './disk.ts';

/** What a disk may hold after a power cut: every path, and what it names. Equal states have equal keys. */
export interface DiskState {
  readonly key: string;
  readonly entries: ReadonlyMap<string, StateEntry>;
}

/** A folder, a link, or a file: `file` is the same object for two names of one file. */
export type StateEntry = { readonly kind: 'folder' } | LinkNode | FileState;

export interface FileState {
  readonly kind: 'file';
  readonly id: number;
  readonly bytes: Uint8Array;
}

/** Files whose bytes are explored in one workload only: see {@link PowerCut}. */
const isJournal = (path: string): boolean => path.endsWith('/history.jsonl');

const isTemporary = (path: string): boolean =>
  isTemporaryName(path.slice(path.lastIndexOf('/') + 1));

/** Stands for the bytes of a file that has only temporary names. */
const UNREAD = new Uint8Array();

/** A process that is gone: no number of a process is that large. */
const DEAD = { ...self, pid: 99_999_999 };

/**
 * Every state that a disk may be in when the power is cut now. To stay exhaustive with few states, what
 * nobody ever looks at counts once:
 *
 * - the bytes of a file that has only temporary names. A recovery that reads them is an error of the model;
 * - unless `journals` is set, the journal: it is as the processes saw it. One workload sets it.
 *
 * Temporary names are spelt anew, as those of a process which is gone.
 */
export class PowerCut {
  readonly #journals: boolean;
  readonly #contents = new Map<string, Uint8Array>();
  readonly #numbers = new WeakMap<Uint8Array, number>();

  constructor({ journals }: { readonly journals: boolean }) {
    this.#journals = journals;
  }

  *states(root: FolderNode): Generator<DiskState> {
    for (const nodes of this.#foldersFrom([['', root]], [])) {
      for (const contents of this.#contentsOf(nodes)) yield this.#state(nodes, contents);
    }
  }

  /** Every way in which the names of these folders, and of those below, may be on the disk. */
  *#foldersFrom(
    open: readonly (readonly [path: string, FolderNode])[],
    done: readonly (readonly [path: string, Node])[],
  ): Generator<readonly (readonly [path: string, Node])[]> {
    const [first, ...rest] = open;
    if (first === undefined) {
      yield done;
      return;
    }
    const [path, folder] = first;
    for (const entries of entriesOf(folder)) {
      const named: [string, Node][] = [];
      let temporaries = 0;
      for (const [name, node] of entries) {
        const isOwned = isTemporaryName(name) && ownerOf(name) !== undefined;
        named.push([`${path}/${isOwned ? deadName(temporaries++) : name}`, node]);
      }
      const folders = named.flatMap(([at, node]) =>
        node.kind === 'folder' ? [[at, node] as const] : [],
      );
      yield* this.#foldersFrom([...rest, ...folders], [...done, ...named]);
    }
  }

  *#contentsOf(
    nodes: readonly (readonly [path: string, Node])[],
  ): Generator<ReadonlyMap<FileNode, Uint8Array>> {
    const open = new Set<FileNode>();
    for (const [path, node] of nodes) {
      if (node.kind !== 'file' || node.unsynced.length === 0) continue;
      if (isTemporary(path)) continue;
      if (this.#journals || !isJournal(path)) open.add(node);
    }
    yield* this.#product([...open], new Map());
  }

  *#product(
    [file, ...rest]: readonly FileNode[],
    chosen: ReadonlyMap<FileNode, Uint8Array>,
  ): Generator<ReadonlyMap<FileNode, Uint8Array>> {
    if (file === undefined) {
      yield chosen;
      return;
    }
    for (const bytes of contentsOf(file)) {
      yield* this.#product(rest, new Map(chosen).set(file, this.#same(bytes)));
    }
  }

  #state(
    nodes: readonly (readonly [path: string, Node])[],
    contents: ReadonlyMap<FileNode, Uint8Array>,
  ): DiskState {
    const files = new Map<FileNode, FileState>();
    const entries = new Map<string, StateEntry>();
    const key: string[] = [];
    const visible = new Set(nodes.flatMap(([path, node]) => (isTemporary(path) ? [] : [node])));
    for (const [path, node] of [...nodes].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (node.kind === 'file') {
        const bytes = visible.has(node) ? (contents.get(node) ?? this.#same(node.bytes)) : UNREAD;
        const id = files.get(node)?.id ?? files.size + 1;
        const file = files.get(node) ?? { kind: 'file', id, bytes };
        files.set(node, file);
        entries.set(path, file);
        key.push(`${path}=${id}:${this.#numberOf(bytes)}`);
      } else {
        entries.set(path, node.kind === 'folder' ? { kind: 'folder' } : node);
        key.push(`${path}=${node.kind === 'link' ? `>${node.target}` : '/'}`);
      }
    }
    return { key: key.join('\n'), entries };
  }

  /** One array for equal bytes, so that they are looked into once. */
  #same(bytes: Uint8Array): Uint8Array {
    if (this.#numbers.has(bytes)) return bytes;
    const text = Buffer.from(bytes).toString('latin1');
    const same = this.#contents.get(text) ?? bytes;
    this.#contents.set(text, same);
    if (!this.#numbers.has(same)) this.#numbers.set(same, this.#contents.size);
    return same;
  }

  #numberOf(bytes: Uint8Array): number {
    return this.#numbers.get(this.#same(bytes)) ?? 0;
  }
}

/** A disk that holds a state and nothing else, as after a restart. */
export function restarted({ entries }: DiskState): FolderNode {
  const root = new FolderNode(0);
  const folders = new Map([['', root]]);
  const files = new Map<StateEntry, FileNode>();
  let lastId = 0;
  for (const [path, entry] of entries) {
    const parent = folders.get(path.slice(0, path.lastIndexOf('/')));
    const name = path.slice(path.lastIndexOf('/') + 1);
    let node: Node;
    if (entry.kind === 'folder') {
      node = new FolderNode(++lastId);
      folders.set(path, node);
    } else if (entry.kind === 'link') {
      node = { ...entry, id: ++lastId };
    } else {
      node = files.get(entry) ?? new FileNode(++lastId, entry.bytes);
      files.set(entry, node);
      node.names += 1;
    }
    parent?.change(new Map([[name, node]]));
    parent?.sync();
  }
  return root;
}

/** What a folder's names may be: any subset of its changes, in their order. */
function entriesOf({ synced, unsynced }: FolderNode): Iterable<ReadonlyMap<string, Node>> {
  const found = new Map<string, ReadonlyMap<string, Node>>();
  for (let subset = 0; subset < 2 ** unsynced.length; subset++) {
    let entries = synced;
    for (const [i, change] of unsynced.entries()) {
      if (subset & (2 ** i)) entries = changed(entries, change);
    }
    const key = [...entries].map(([name, { id }]) => `${name}=${id}`).sort();
    found.set(key.join('\n'), entries);
  }
  return found.values();
}

/**
 * What a file may hold: of each write nothing, all, or what is before or behind a cut; and any length that a
 * write, or a part of one, would have given it, with zeros where no bytes came.
 */
function contentsOf({ synced, unsynced }: FileNode): Iterable<Uint8Array> {
  const lengths = new Set([synced.length]);
  for (const { position, bytes, cuts } of unsynced) {
    for (const end of [...cuts, bytes.length]) {
      lengths.add(Math.max(synced.length, position + end));
    }
  }
  const found = new Map<string, Uint8Array>();
  for (const bytes of withParts(synced, unsynced)) {
    for (const length of lengths) {
      const content = new Uint8Array(length);
      content.set(bytes.subarray(0, length));
      found.set(Buffer.from(content).toString('latin1'), content);
    }
  }
  return found.values();
}

function* withParts(old: Uint8Array, [first, ...rest]: readonly Write[]): Generator<Uint8Array> {
  if (first === undefined) {
    yield old;
    return;
  }
  const { position, bytes, cuts } = first;
  yield* withParts(old, rest);
  yield* withParts(written(old, position, bytes), rest);
  for (const cut of cuts) {
    yield* withParts(written(old, position, bytes.subarray(0, cut)), rest);
    yield* withParts(written(old, position + cut, bytes.subarray(cut)), rest);
  }
}

function deadName(number: number): string {
  return temporaryName(DEAD).replace(/[0-9a-f]+\.tmp$/, `${number.toString(16)}.tmp`);
}
