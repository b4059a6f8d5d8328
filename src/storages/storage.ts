/** What a path names, without following a symbolic link. */
export interface StorageEntry {
  /** The full path, as the storage's other methods take it. */
  readonly path: string;
  /** Whatever is neither a folder nor a symbolic link counts as a file. */
  readonly kind: 'file' | 'folder' | 'link';
  /** Size in bytes; of a link: of what it points to, 0 when that is gone; of a folder: no meaning. */
  readonly sizeBytes: number;
  /** Last change, in milliseconds since 1970 (UTC); of a link: of the link itself. */
  readonly modifiedAtMs: number;
  /** Of a link: the path it points to (absolute), else undefined. */
  readonly target?: string;
}

/** Bytes `[offset, offset + length)` of a file. Both are safe integers of at least 0. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * One file being written. Nothing is visible under the target's name before {@link publish}, and a
 * writer that is neither published nor aborted (the process died) leaves only a temporary file, which
 * {@link Storage.sweep} removes later.
 *
 * One call at a time, except {@link abort}. A call that fails with anything but `Conflict` has removed
 * what was written: the writer is spent, and aborting it does nothing more.
 */
export interface StorageWriter {
  /**
   * Appends the views in order. They must not change until this resolves, but views of memory that moves may be
   * detached, or hold anything else, any time after the call: whatever is then written in their places, all other bytes are in theirs.
   */
  write(views: readonly Uint8Array[]): Promise<void>;
  /**
   * Writes over bytes that were already written, from `offset` (for checksums that are known late).
   * The range must lie within what has been written.
   */
  patch(offset: number, bytes: Uint8Array): Promise<void>;
  /**
   * The CRC-32 of each range of what has been written, worked out without holding up this thread. More may be
   * written meanwhile, and more asked. Absent where a storage has no such way: the caller computes them from the
   * bytes it writes.
   */
  checksums?(ranges: readonly ByteRange[]): Promise<readonly number[]>;
  /**
   * Gives the file a further name, which must be free, beside the one that it is published under. The name stands for
   * the whole file at once, and is durable when {@link publish} resolves; {@link abort}, or a failure, takes it back.
   * From here on the writer takes no more bytes.
   *
   * @returns false when this storage has no cheap second names: the caller writes another file.
   * @throws StorageError `Conflict`, with that path, when it is taken; the writer can still be published.
   */
  link(path: string): Promise<boolean>;
  /**
   * Makes the file visible under its name, whole and at once, and durable: when this resolves the file
   * survives `kill -9` and a power cut.
   *
   * @throws StorageError `Conflict` when `replace` is false and the name is taken, or when a folder has
   * it; the writer stays open, to be aborted or published with `replace: true`, but takes no more bytes.
   * After any other failure the name is as it was, or, when only making it durable failed, stands for the
   * whole new file.
   */
  publish(options: { readonly replace: boolean }): Promise<void>;
  /**
   * Gives up and removes what was written. Safe to call at any time (a call under way is waited for),
   * more than once, and after {@link publish}, when it does nothing. Never rejects: what cannot be removed is left to
   * {@link Storage.sweep}.
   */
  abort(): Promise<void>;
}

/**
 * Where checkpoints live. Paths are strings with `/` between the parts, as `dirpath` gives them. Every
 * method that changes something is durable when it resolves (but see {@link append}), and may run at the
 * same time as any other. Every method that makes a name makes the folders it lies in. All failures are
 * `StorageError`s.
 */
export interface Storage {
  /** For messages: `local`, `memory`, `s3`. */
  readonly name: string;
  /** Whether {@link symlink} works. */
  readonly supportsSymlinks: boolean;

  /**
   * Starts a file at `path`. `sizeBytes` is how large it is going to be, when that is known: for the message
   * that there is no space for it.
   */
  writer(path: string, options?: { readonly sizeBytes?: number }): Promise<StorageWriter>;
  /**
   * Reads a file, or a part of it, following links. Shorter than asked for only where the file ends.
   * The bytes are the caller's own, in a buffer of their own.
   *
   * @throws StorageError `NotFound`, or `Conflict` for a folder.
   */
  read(path: string, range?: ByteRange): Promise<Uint8Array>;
  /**
   * Reads parts of a file, some of them at once, and gives each to `each` when it is there, in no order. A part
   * is shorter than asked for only where the file ends. The bytes are the caller's own, in buffers of their own.
   *
   * @param each Must not throw.
   * @throws StorageError `NotFound`, or `Conflict` for a folder. Then `each` is not called again.
   */
  readParts(
    path: string,
    ranges: readonly ByteRange[],
    each: (index: number, bytes: Uint8Array) => void,
  ): Promise<void>;
  /** What the path names, or undefined when nothing has that name. */
  stat(path: string): Promise<StorageEntry | undefined>;
  /**
   * The entries directly inside a folder, in no order and without temporary files; none when the folder
   * does not exist. What is made or removed meanwhile may be there or not.
   *
   * @throws StorageError `NotAFolder` when it is a file.
   */
  list(folder: string): AsyncIterable<StorageEntry>;
  /**
   * Gives a file (not a folder, not a link) a second name without writing its bytes again. With
   * `replace`, `to` names either the old or the new file at every instant.
   *
   * @returns false when this storage has no cheap second names: the caller copies instead.
   * @throws StorageError `Conflict` when `replace` is false and `to` is taken; `NotFound`.
   */
  link(from: string, to: string, options: { readonly replace: boolean }): Promise<boolean>;
  /**
   * Makes (or replaces, atomically) a symbolic link at `path`. What is stored is the way from the link's
   * folder to `target`, which may be given as an absolute path or already relative to that folder, and
   * need not exist.
   *
   * @throws StorageError `Conflict` when `replace` is false and `path` is taken, or when a folder has it;
   * `Unsupported`.
   */
  symlink(target: string, path: string, options: { readonly replace: boolean }): Promise<void>;
  /**
   * Removes a file or a link (not what it points to). False when there was none.
   *
   * @throws StorageError `Conflict` for a folder.
   */
  remove(path: string): Promise<boolean>;
  /**
   * Moves a file or link, replacing what has the name `to`. Afterwards `from` names nothing, also when
   * both were names of one file.
   *
   * @throws StorageError `NotFound`, or `Conflict` when a folder has the name `to`.
   */
  rename(from: string, to: string): Promise<void>;
  /**
   * Appends whole lines to a file, making it when there is none. Where this storage has not appended yet, a last line
   * that has no line feed (a crash cut it) gets one first. For a journal: the text survives the process, but a power cut may
   * take the last lines.
   */
  append(path: string, text: string): Promise<void>;
  /**
   * Checks that files can be made in `folder` (making it), before any training.
   *
   * @throws StorageError `NotAFolder`, `Permission` or what else is in the way.
   */
  prepare(folder: string): Promise<void>;
  /**
   * Removes the temporary files that writers which are gone left directly in `folder`, never one that is
   * being written. None when the folder does not exist.
   *
   * @returns the paths that were removed.
   */
  sweep(folder: string): Promise<readonly string[]>;
}
