import { dirname } from 'node:path';
import { StorageError, type StorageErrorKind } from '../../errors.ts';
import type { FileSystem } from './file-system.ts';

interface Meaning {
  readonly kind: StorageErrorKind;
  /** What is in the way, for a person. */
  readonly reason: string;
  /** What that person can do. */
  readonly advice: string;
}

const retry = 'Highwater can try again; if it stays, look at the machine and its network.';
const noRight: Meaning = {
  kind: 'Permission',
  reason: 'this user may not do that',
  advice: 'Give this user the right to it, or choose another place.',
};
const brokenDisk: Meaning = {
  kind: 'Other',
  reason: 'the disk reported a failure',
  advice: 'The disk may be damaged: look at the system log, and save elsewhere.',
};
const tooManyFiles: Meaning = {
  kind: 'Transient',
  reason: 'too many files are open',
  advice: 'Raise the limit (ulimit -n), or look for a leak of open files.',
};
const noHelp: Meaning = {
  kind: 'Unsupported',
  reason: 'this file system cannot do that',
  advice: 'Choose a dirpath on another disk.',
};

/** What each of the system's codes means. Whatever is not here is `Other`. */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  ENOENT: {
    kind: 'NotFound',
    reason: 'there is no such file or folder',
    advice: 'Check the path; was something moved or removed meanwhile?',
  },
  EEXIST: {
    kind: 'Conflict',
    reason: 'the name is taken',
    advice: 'Choose another name, or allow what is there to be replaced.',
  },
  EISDIR: {
    kind: 'Conflict',
    reason: 'it is a folder where a file is expected',
    advice: 'Move the folder away, or choose another name.',
  },
  ENOTDIR: {
    kind: 'NotAFolder',
    reason: 'part of the path, or all of it, is a file where a folder is expected',
    advice: 'Move that file away, or choose another dirpath.',
  },
  EACCES: noRight,
  EPERM: noRight,
  EROFS: {
    kind: 'Permission',
    reason: 'the file system is read-only',
    advice: 'Mount it for writing (a damaged disk may have made it read-only), or choose another.',
  },
  ENOSPC: {
    kind: 'NoSpace',
    reason: 'the disk is full',
    advice: 'Make room, keep fewer checkpoints (saveTopK), or choose a dirpath on another disk.',
  },
  EDQUOT: {
    kind: 'NoSpace',
    reason: "the user's quota is used up",
    advice: 'Make room, keep fewer checkpoints (saveTopK), or ask for a larger quota.',
  },
  EFBIG: {
    kind: 'Unsupported',
    reason: 'the file would be larger than the file system, or ulimit -f, allows',
    advice: 'Choose a dirpath on another disk, or raise the limit.',
  },
  ENAMETOOLONG: {
    kind: 'Unsupported',
    reason: 'the name or the path is too long for this file system',
    advice: 'Shorten the filename template or dirpath.',
  },
  EXDEV: { ...noHelp, reason: 'the two paths are on different file systems' },
  ENOTSUP: noHelp,
  ENOSYS: noHelp,
  EMLINK: { ...noHelp, reason: 'the file has as many names as this file system allows' },
  ELOOP: {
    kind: 'Other',
    reason: 'symbolic links lead in a circle',
    advice: 'Remove the link that points back.',
  },
  EIO: brokenDisk,
  ENXIO: brokenDisk,
  ENODEV: brokenDisk,
  EMFILE: tooManyFiles,
  ENFILE: tooManyFiles,
  EAGAIN: { kind: 'Transient', reason: 'the disk takes nothing now', advice: retry },
  EINTR: { kind: 'Transient', reason: 'a signal interrupted it', advice: retry },
  EBUSY: { kind: 'Transient', reason: 'it is in use', advice: retry },
  ENOMEM: { kind: 'Transient', reason: 'the system has no memory left', advice: retry },
  ESTALE: { kind: 'Transient', reason: 'the file server has forgotten it', advice: retry },
  ETIMEDOUT: { kind: 'Transient', reason: 'the file server does not answer', advice: retry },
  EHOSTDOWN: { kind: 'Transient', reason: 'the file server is down', advice: retry },
};

/** What was being done when something failed: `Cannot <action> <path>`. */
export interface Attempt {
  readonly action: string;
  readonly path: string;
  /** How many bytes the whole file was to have, where bytes were to be written. */
  readonly wantedBytes?: number | undefined;
}

/** A URL is a good path too, of folders like `s3:`, which nobody means. */
function refuseUrl({ action, path }: Attempt): void {
  const [, scheme] = /^([a-z][a-z\d+.-]+):\/\//i.exec(path) ?? [];
  if (scheme === undefined) return;
  throw new StorageError(
    'Unsupported',
    path,
    `Cannot ${action} ${path}: local files have no ${scheme}:// URLs. Give a path, or a storage of yours that has them ` +
      `(new Trainer({ storage })).`,
  );
}

/** Does `work`; whatever it throws is thrown as a `StorageError` that says what, where and what next. */
export async function attempting<T>(
  fs: FileSystem,
  attempt: Attempt,
  work: () => Promise<T>,
): Promise<T> {
  try {
    refuseUrl(attempt);
    return await work();
  } catch (cause) {
    throw await storageFault(fs, attempt, cause);
  }
}

/** The error for a person, and for programs (`details`: `action`, `code`, `wantedBytes`, `freeBytes`). */
export async function storageFault(
  fs: FileSystem,
  attempt: Attempt,
  cause: unknown,
): Promise<StorageError> {
  if (cause instanceof StorageError) return cause;
  const { action, path, wantedBytes } = attempt;
  const code = codeOf(cause);
  const { kind, reason, advice } = MEANINGS[code ?? ''] ?? {
    kind: 'Other',
    reason: cause instanceof Error ? cause.message : String(cause),
    advice: '',
  };
  const freeBytes = kind === 'NoSpace' ? await freeBytesFor(fs, path) : undefined;
  const text = [
    `Cannot ${action} ${path}: ${reason}${code === undefined ? '' : ` (${code})`}.`,
    wantedBytes !== undefined && kind === 'NoSpace' && `${bytes(wantedBytes)} were wanted.`,
    freeBytes !== undefined && `${bytes(freeBytes)} are free in ${dirname(path)}.`,
    advice,
  ];
  return new StorageError(kind, path, text.filter(Boolean).join(' '), {
    details: { action, path, code, wantedBytes, freeBytes },
    cause,
  });
}

/** What kind of failure an error of the system is. */
export function kindOf(error: unknown): StorageErrorKind {
  return MEANINGS[codeOf(error) ?? '']?.kind ?? 'Other';
}

/** The system's code of an error (`ENOENT`, …), if it has one. */
export function codeOf(error: unknown): string | undefined {
  const { code } = Object(error) as { readonly code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

/** An error as the system would give it, for what is found out before the system is asked. */
export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

function freeBytesFor(fs: FileSystem, path: string): Promise<number | undefined> {
  return fs.freeBytes(dirname(path)).catch(() => undefined);
}

function bytes(count: number): string {
  return `${count.toLocaleString('en-US')} bytes`;
}
