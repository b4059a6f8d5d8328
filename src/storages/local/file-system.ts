import * as callbacks from 'node:fs';
import {
  link,
  lstat,
  mkdir,
  open,
  opendir,
  readlink,
  rename,
  stat,
  statfs,
  symlink,
  unlink,
} from 'node:fs/promises';
import { promisify } from 'node:util';
import type { ByteRange } from '../storage.ts';
import { canUseChecksumThread, checksumsOf } from './checksum-thread.ts';

/** What a path names on disk. */
export interface FileStatus {
  readonly kind: 'file' | 'folder' | 'link';
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  /** The same for two names of one file, and for no others. */
  readonly identity: string;
  /** How many names (hard links) it has. */
  readonly names: number;
}

/** An open file. */
export interface OpenFile {
  /**
   * Writes the views at `position`, or at the file's end when it was opened to append. At most 1,000
   * views and 1 GiB.
   *
   * @returns how many bytes were taken, which may be fewer than given.
   */
  writev(views: readonly Uint8Array[], position: number | undefined): Promise<number>;
  /** Fills `into` from `position`. Returns how many bytes were read; 0 only at the file's end. */
  read(into: Uint8Array, position: number): Promise<number>;
  status(): Promise<FileStatus>;
  /**
   * The CRC-32 of each range, read back on another thread, which meanwhile begins to flush what has been written, so
   * that {@link datasync} has less to do. More may be written meanwhile. Absent where there is no such thread:
   * nothing that is written depends on it.
   */
  checksums?(ranges: readonly ByteRange[]): Promise<readonly number[]>;
  /** Flushes the file's bytes to the disk. */
  datasync(): Promise<void>;
  close(): Promise<void>;
}

/**
 * The few operations of an operating system that `localFiles` is made of, each with one effect, so that
 * tests can record them, let any one of them fail, or cut the power between two. Failures are errors
 * with the system's `code` (`ENOENT`, …). Paths that are links are not followed unless said.
 */
export interface FileSystem {
  /**
   * Opens a file, following links. `create`: a new one, `EEXIST` when the name is taken. `append`: made
   * when there is none, and readable too.
   */
  open(path: string, mode: 'create' | 'read' | 'append'): Promise<OpenFile>;
  rename(from: string, to: string): Promise<void>;
  /** Gives the file `from` a second name. `EEXIST` when `to` is taken. */
  link(from: string, to: string): Promise<void>;
  /** Makes a link at `path` that holds `target` as it is. `EEXIST` when `path` is taken. */
  symlink(target: string, path: string): Promise<void>;
  readlink(path: string): Promise<string>;
  unlink(path: string): Promise<void>;
  /** Makes one folder. `EEXIST` when the name is taken. */
  mkdir(folder: string): Promise<void>;
  lstat(path: string): Promise<FileStatus>;
  /** Follows links. */
  stat(path: string): Promise<FileStatus>;
  /** The names in a folder, in no order. */
  names(folder: string): AsyncIterable<string>;
  /** Flushes a folder's names to the disk. */
  syncFolder(folder: string): Promise<void>;
  /** How many bytes this user can still write to the disk that holds `folder`. */
  freeBytes(folder: string): Promise<number>;
}

const FLAGS = { create: 'wx+', read: 'r', append: 'a+' } as const;

/** What `fsync` of a folder says on file systems that keep names safe in another way, or not at all. */
const CANNOT_SYNC_FOLDERS: readonly unknown[] = ['EINVAL', 'EBADF', 'ENOTSUP', 'ENOSYS'];

/** The operating system's own files, through `node:fs`. */
export const nodeFileSystem: FileSystem = {
  rename,
  link,
  symlink,
  readlink,
  unlink,
  mkdir: (folder) => mkdir(folder).then(() => {}),
  lstat: async (path) => status(await lstat(path, { bigint: true })),
  stat: async (path) => status(await stat(path, { bigint: true })),
  open: openFile,
  syncFolder,
  async *names(folder) {
    for await (const entry of await opendir(folder)) yield entry.name;
  },
  async freeBytes(folder) {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
};

/**
 * Only what is read goes by bare descriptors, which takes a fifth off a long listing. A `FileHandle` closes when all
 * that is under way on it has ended, so that no write ever meets another file under the same number.
 */
const [openDescriptor, closeDescriptor] = [promisify(callbacks.open), promisify(callbacks.close)];
const [readDescriptor, statDescriptor] = [promisify(callbacks.read), promisify(callbacks.fstat)];
const syncDescriptor = promisify(callbacks.fdatasync);

async function openToRead(path: string): Promise<OpenFile> {
  const descriptor = await openDescriptor(path, FLAGS.read);
  return {
    writev: () => Promise.reject(new Error(`'${path}' is open for reading only.`)),
    read: async (into, position) =>
      (await readDescriptor(descriptor, into, 0, into.byteLength, position)).bytesRead,
    status: async () => status(await statDescriptor(descriptor, { bigint: true })),
    datasync: () => syncDescriptor(descriptor),
    close: () => closeDescriptor(descriptor),
  };
}

async function openFile(path: string, mode: keyof typeof FLAGS): Promise<OpenFile> {
  if (mode === 'read') return await openToRead(path);
  const handle = await open(path, FLAGS[mode]);
  return {
    writev: async (views, position) => (await handle.writev(views, position)).bytesWritten,
    read: async (into, position) =>
      (await handle.read(into, 0, into.byteLength, position)).bytesRead,
    status: async () => status(await handle.stat({ bigint: true })),
    ...(canUseChecksumThread && {
      checksums: (ranges: readonly ByteRange[]) => checksumsOf(handle.fd, ranges),
    }),
    datasync: () => handle.datasync(),
    close: () => handle.close(),
  };
}

async function syncFolder(folder: string): Promise<void> {
  // Windows has no such call, and flushes names by itself.
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!CANNOT_SYNC_FOLDERS.includes((error as NodeJS.ErrnoException).code)) throw error;
  } finally {
    // Nothing is lost with a folder that was only looked at, so nobody waits.
    handle.close().catch(() => {});
  }
}

/** The part of Node's `BigIntStats` that is used. Inodes pass 2 ** 53, so numbers would not do. */
interface SystemStatus {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly nlink: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
}

function status(found: SystemStatus): FileStatus {
  return {
    kind: found.isSymbolicLink() ? 'link' : found.isDirectory() ? 'folder' : 'file',
    sizeBytes: Number(found.size),
    modifiedAtMs: Number(found.mtimeNs / 1000n) / 1000,
    identity: `${found.dev}:${found.ino}`,
    names: Number(found.nlink),
  };
}
