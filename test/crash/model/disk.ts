/**
 * A disk and the memory in front of it, by what POSIX promises and nothing more. A change is seen by every
 * process at once; what the disk itself holds of it is open until it is flushed:
 *
 * - `datasync` of a file puts its bytes and its length on the disk, and no name of it. Without it each write
 *   is there, absent or torn by itself, in no order, and the length may have grown with or without the bytes.
 * - `syncFolder` puts the names in one folder on the disk, not the folder's own name in its parent, and no
 *   bytes of the files. Without it any subset of the changes of its names is there.
 * - One change within one folder is atomic: a rename never leaves both names or neither. POSIX says so of
 *   what processes see; of the disk it is what every file system in use guarantees, and what all software
 *   that replaces files relies on. Between two folders it is two changes: after a crash both names, one or
 *   neither may be there.
 * - Changes that are there were applied in the order in which they were made: two of one name share one
 *   entry, whose later version includes the earlier; of different names, any subset is every order.
 * - The target of a symbolic link is there when its name is: nothing could flush it by itself.
 *
 * This is weaker than what ext4, XFS, btrfs or APFS do, on purpose.
 */
export type Node = FileNode | FolderNode | LinkNode;

/** Bytes that a process has written to a file. `cuts` are the places inside where it may tear. */
export interface Write {
  readonly position: number;
  readonly bytes: Uint8Array;
  readonly cuts: readonly number[];
}

export class FileNode {
  readonly kind = 'file';
  readonly id: number;
  /** What processes read. Never written to: a write makes a new array. */
  bytes: Uint8Array;
  /** What is on the disk for certain; `unsynced` may be too. */
  synced: Uint8Array;
  unsynced: readonly Write[] = [];
  /** How many names it has. */
  names = 0;

  constructor(id: number, bytes: Uint8Array) {
    this.id = id;
    this.bytes = bytes;
    this.synced = bytes;
  }

  write(write: Write): void {
    this.bytes = written(this.bytes, write.position, write.bytes);
    this.unsynced = [...this.unsynced, write];
  }

  sync(): void {
    this.synced = this.bytes;
    this.unsynced = [];
  }
}

/** What some names stand for from now on; undefined: nothing. One such change is atomic. */
export type Change = ReadonlyMap<string, Node | undefined>;

export class FolderNode {
  readonly kind = 'folder';
  readonly id: number;
  entries: ReadonlyMap<string, Node>;
  synced: ReadonlyMap<string, Node>;
  unsynced: readonly Change[] = [];

  constructor(id: number, entries: ReadonlyMap<string, Node> = new Map()) {
    this.id = id;
    this.entries = entries;
    this.synced = entries;
  }

  change(change: Change): void {
    this.entries = changed(this.entries, change);
    this.unsynced = [...this.unsynced, change];
  }

  sync(): void {
    this.synced = this.entries;
    this.unsynced = [];
  }
}

export interface LinkNode {
  readonly kind: 'link';
  readonly id: number;
  readonly target: string;
}

/** Bytes with others at a position, a hole before it filled with zeros. */
export function written(old: Uint8Array, position: number, bytes: Uint8Array): Uint8Array {
  const file = new Uint8Array(Math.max(old.length, position + bytes.length));
  file.set(old);
  file.set(bytes, position);
  return file;
}

export function changed(entries: ReadonlyMap<string, Node>, change: Change): Map<string, Node> {
  const result = new Map(entries);
  for (const [name, node] of change) {
    if (node === undefined) result.delete(name);
    else result.set(name, node);
  }
  return result;
}
