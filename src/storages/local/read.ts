import { eachAtOnce } from '../../each-at-once.ts';
import type { ByteRange } from '../storage.ts';
import { systemError } from './fault.ts';
import type { FileSystem, OpenFile } from './file-system.ts';

/** So little is allotted without a look at the file's size. */
const SMALL_BYTES = 64 * 1024;

/** One call reads less than 2 GiB. */
const MAX_BYTES = 2 ** 30;

/** Reads in flight at once: as many as Node has threads for them. */
const PARALLEL_READS = 4;

/** Reads a file or a part of it. No more is allotted than the file has, whatever is asked for. */
export async function readBytes(
  fs: FileSystem,
  path: string,
  range: ByteRange = { offset: 0, length: Number.MAX_SAFE_INTEGER },
): Promise<Uint8Array> {
  let bytes = new Uint8Array(0);
  await readParts(fs, path, [range], (_, part) => {
    bytes = part;
  });
  return bytes;
}

/** Reads parts of a file, several at once, and gives each to `each` when it is there. */
export async function readParts(
  fs: FileSystem,
  path: string,
  ranges: readonly ByteRange[],
  each: (index: number, bytes: Uint8Array<ArrayBuffer>) => void,
): Promise<void> {
  ranges.forEach(checkRange);
  const file = await fs.open(path, 'read');
  try {
    const sizeBytes = isSmall(ranges) ? Number.POSITIVE_INFINITY : await sizeOf(file);
    const atOnce = Math.min(PARALLEL_READS, ranges.length);
    await eachAtOnce(ranges.entries(), atOnce, async ([i, { offset, length }]) => {
      // Not zeroed: all of it is written over. Memory that was let go comes back without a page fault.
      const into = Buffer.allocUnsafeSlow(Math.max(0, Math.min(length, sizeBytes - offset)));
      each(i, await fill(file, new Uint8Array(into.buffer), offset));
    });
  } finally {
    await file.close();
  }
}

/** To read nothing from a folder would be no error, so that is looked at. */
function isSmall(ranges: readonly ByteRange[]): boolean {
  const lengths = ranges.map(({ length }) => length);
  return lengths.every((length) => length > 0) && sum(lengths) <= SMALL_BYTES;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

async function sizeOf(file: OpenFile): Promise<number> {
  const { kind, sizeBytes } = await file.status();
  if (kind === 'folder') throw systemError('EISDIR');
  return sizeBytes;
}

async function fill(
  file: OpenFile,
  into: Uint8Array<ArrayBuffer>,
  position: number,
): Promise<Uint8Array<ArrayBuffer>> {
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
