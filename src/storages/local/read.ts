import type { ByteRange, CheckedBytes } from '../storage.ts';
import { systemError } from './fault.ts';
import type { FileSystem, OpenFile } from './file-system.ts';

/** So little is allotted without a look at the file's size. */
const SMALL_BYTES = 64 * 1024;

/** One call reads less than 2 GiB. */
const MAX_BYTES = 2 ** 30;

/** Reads a file or a part of it. No more is allotted than the file has, whatever is asked for. */
export async function readBytes(
  fs: FileSystem,
  path: string,
  range: ByteRange = { offset: 0, length: Number.MAX_SAFE_INTEGER },
): Promise<Uint8Array> {
  checkRange(range);
  const { offset, length } = range;
  const file = await fs.open(path, 'read');
  try {
    // To read nothing from a folder would be no error.
    if (length > 0 && length <= SMALL_BYTES)
      return await fill(file, new Uint8Array(length), offset);
    const { kind, sizeBytes } = await file.status();
    if (kind === 'folder') throw systemError('EISDIR');
    const into = new Uint8Array(Math.max(0, Math.min(length, sizeBytes - offset)));
    return await fill(file, into, offset);
  } finally {
    await file.close();
  }
}

/** Reads parts of a file on other threads, none beyond its end; false where there are no such threads. */
export async function readCheckedBytes(
  fs: FileSystem,
  path: string,
  ranges: readonly ByteRange[],
  each: (index: number, found: CheckedBytes) => void,
): Promise<boolean> {
  ranges.forEach(checkRange);
  const file = await fs.open(path, 'read');
  try {
    const { kind, sizeBytes } = await file.status();
    if (kind === 'folder') throw systemError('EISDIR');
    const within = ranges.map(({ offset, length }) => ({
      offset,
      length: Math.max(0, Math.min(length, sizeBytes - offset)),
    }));
    await file.readChecked?.(within, each);
    return file.readChecked !== undefined;
  } finally {
    await file.close();
  }
}

async function fill(file: OpenFile, into: Uint8Array, position: number): Promise<Uint8Array> {
  let filled = 0;
  while (filled < into.byteLength) {
    const part = into.subarray(filled, filled + MAX_BYTES);
    const count = await file.read(part, position + filled);
    // Somebody has made the file shorter meanwhile.
    if (count === 0) return into.slice(0, filled);
    filled += count;
  }
  return into;
}

function checkRange({ offset, length }: ByteRange): void {
  if (isCount(offset) && isCount(length)) return;
  throw new RangeError(`offset ${offset} and length ${length} must be integers of at least 0`);
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}
