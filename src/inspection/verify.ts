import { CheckpointFileError, HighwaterError, StorageError } from '../errors.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { placeOf, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import type { Storage } from '../storages/storage.ts';
import { filesBelow } from './list.ts';
import { type FileState, problemState } from './summary.ts';

/** What a verification found about one file. */
export interface Verification {
  readonly path: string;
  readonly sizeBytes: number;
  /** As in a listing; `corrupt` also when the data of a tensor do not match their checksum. */
  readonly state: FileState;
  /** Whether it can be read and nothing is wrong. Of a foreign file only its structure can be checked. */
  readonly isSound: boolean;
  /** What is wrong, a line for each damaged tensor; empty when nothing is. */
  readonly problems: readonly string[];
  readonly tensors: number;
}

/** How files are verified. */
export interface VerifyOptions extends StorageOptions {
  /** Called as the work goes on, after every few MiB. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

const NAMES: OptionNames<VerifyOptions> = {
  ...STORAGE_NAMES,
  onProgress: true,
};

/** How far a verification has come. */
export interface VerifyProgress {
  readonly path: string;
  /** Files that are done, and all. */
  readonly filesDone: number;
  readonly files: number;
  /** Bytes of files that are done or were read, and of all. */
  readonly bytesDone: number;
  readonly bytes: number;
}

/**
 * Reads a file, or every checkpoint in a folder and those below it, and checks the structure and every
 * checksum, a few MiB at a time. Gives each file when it is done, by path. A damaged file does not end it.
 *
 * @param path of a file or a folder, or a `file:` URL.
 * @throws HighwaterError (`CHECKPOINT_NOT_FOUND`) when there is nothing; StorageError when the folder cannot be
 * listed; one below it that cannot be is given as `unreadable`.
 */
export async function* verify(
  path: string | URL,
  options: VerifyOptions = {},
): AsyncGenerator<Verification, void> {
  checkOptionNames('verify', options, NAMES);
  const { storage, path: place } = await placeOf(path, options);
  const files = await filesAt(storage, place);
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  let bytesBefore = 0;
  for (const [filesDone, file] of files.entries()) {
    const began = bytesBefore;
    const tell = (readBytes: number): void => {
      const bytesDone = began + readBytes;
      options.onProgress?.({ path: file.path, filesDone, files: files.length, bytesDone, bytes });
    };
    tell(0);
    yield await verifyFile(storage, file, tell);
    bytesBefore += file.sizeBytes;
  }
}

interface FileToVerify {
  readonly path: string;
  readonly sizeBytes: number;
  readonly isLink: boolean;
  /** Of a folder that cannot be listed: why. */
  readonly problem?: string | undefined;
}

async function filesAt(storage: Storage, path: string): Promise<readonly FileToVerify[]> {
  const entry = await storage.stat(path);
  if (entry === undefined) {
    throw new HighwaterError('CHECKPOINT_NOT_FOUND', `There is no file or folder '${path}'.`, {
      details: { path },
    });
  }
  const found: FileToVerify[] = [];
  if (entry.kind === 'file' || (entry.kind === 'link' && !(await leadsToFolder(storage, path)))) {
    return [{ path, sizeBytes: entry.sizeBytes, isLink: entry.kind === 'link' }];
  }
  for await (const { path: file, sizeBytes, kind, problem } of filesBelow(storage, path)) {
    found.push({ path: file, sizeBytes, isLink: kind === 'link', problem });
  }
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function leadsToFolder(storage: Storage, link: string): Promise<boolean> {
  try {
    await storage.read(link, { offset: 0, length: 0 });
    return false;
  } catch (error) {
    return error instanceof StorageError && error.kind === 'Conflict';
  }
}

async function verifyFile(
  storage: Storage,
  { path, sizeBytes, isLink, problem }: FileToVerify,
  tell: (readBytes: number) => void,
): Promise<Verification> {
  if (problem !== undefined) {
    return {
      path,
      sizeBytes,
      state: 'unreadable',
      isSound: false,
      problems: [problem],
      tensors: 0,
    };
  }
  const problems: string[] = [];
  let state: FileState = 'foreign';
  let tensors = 0;
  try {
    const reader = await CheckpointReader.open(storage, path);
    tensors = reader.index.tensors.length;
    if (reader.document !== undefined) state = reader.isResumable ? 'whole' : 'weights only';
    for (const tensor of reader.index.tensors) {
      try {
        let done = tensor.offset;
        for await (const part of reader.parts(tensor)) {
          done += part.length;
          tell(done);
        }
      } catch (error) {
        if (!(error instanceof CheckpointFileError)) throw error;
        problems.push(error.message);
        state = 'corrupt';
      }
    }
  } catch (error) {
    if (!(error instanceof HighwaterError)) throw error;
    problems.push(error.message);
    state = problemState(error, isLink);
  }
  return { path, sizeBytes, state, isSound: problems.length === 0, problems, tensors };
}
