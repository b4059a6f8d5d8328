import { CheckpointFileError } from '../../errors.ts';
import { quote } from '../../format/json-scanner.ts';
import { decodeUtf8 } from '../../format/utf8.ts';
import type { Storage } from '../../storages/storage.ts';
import { CENTRAL, END, END64, LOCAL, LOCATOR64, leadsOut, MAX_32, ZIP64_FIELD } from './layout.ts';

/** The longest comment at the end of an archive. */
const MAX_COMMENT_BYTES = 0xffff;

/** The longest directory that is read: some 400,000 entries. */
const MAX_DIRECTORY_BYTES = 64 * 2 ** 20;

/** An entry of an archive. */
export interface ZipEntry {
  readonly name: string;
  /** Whether its bytes are those of the file, without compression. Nothing else is read. */
  readonly isStored: boolean;
  /** The bytes that it takes in the file. */
  readonly sizeBytes: number;
  /** The CRC-32 that its bytes should have. */
  readonly checksum: number;
  /** Where its local header begins. */
  readonly headerOffset: number;
  /** Where the next header, or the directory, begins: its bytes end before. */
  readonly endsBefore: number;
}

/**
 * The entries of an archive, by name. Only stored entries are read, as PyTorch writes them: an entry is a
 * range of the file, and nothing is ever inflated.
 *
 * Why not a library: yauzl reads an archive through Node's streams, two reads an entry, and says neither which
 * byte is wrong nor that two entries overlap; and no writer of stored entries aligns them, so that the
 * structures were needed here anyway.
 *
 * Source: APPNOTE.TXT 6.3.10, .ZIP File Format Specification, sections 4.3 and 4.5.3.
 *
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) with the byte that is wrong, and the entry's name, for an
 * archive that is cut short or has several disks, and an entry that is encrypted, overlaps another,
 * goes on beyond the file, stands twice, or has a name that would leave a folder.
 */
export async function readDirectory(
  storage: Storage,
  path: string,
  fileSizeBytes: number,
): Promise<ReadonlyMap<string, ZipEntry>> {
  const tailBytes = Math.min(
    fileSizeBytes,
    MAX_COMMENT_BYTES + END.bytes + LOCATOR64.bytes + END64.bytes,
  );
  const tailOffset = fileSizeBytes - tailBytes;
  const tail = await storage.read(path, { offset: tailOffset, length: tailBytes });
  const { offset, sizeBytes, count, endsAt } = findDirectory(tail, tailOffset, fileSizeBytes);
  if (offset + sizeBytes > endsAt) {
    refuse(`its directory (${sizeBytes} bytes) goes on beyond byte ${endsAt}`, offset);
  }
  if (sizeBytes > MAX_DIRECTORY_BYTES) {
    refuse(`its directory takes ${sizeBytes} bytes, more than ${MAX_DIRECTORY_BYTES}`, offset);
  }
  const directory = await storage.read(path, { offset, length: sizeBytes });
  if (directory.length < sizeBytes) refuse('its directory is cut short', offset);
  return entriesOf(directory, offset, count);
}

/**
 * Where the bytes of an entry begin.
 *
 * @throws CheckpointFileError when it is compressed, or its local header tells another story.
 */
export async function locate(storage: Storage, path: string, entry: ZipEntry): Promise<number> {
  const { name, headerOffset } = entry;
  if (!entry.isStored)
    refuse(`${quote(name)} is compressed, and PyTorch only stores`, headerOffset);
  const bytes = await storage.read(path, { offset: headerOffset, length: LOCAL.bytes });
  if (bytes.length < LOCAL.bytes) refuse(`${quote(name)} is cut short`, headerOffset);
  const view = viewOf(bytes);
  if (view.getUint32(0, true) !== LOCAL.signature) {
    refuse(`there is no entry where ${quote(name)} should begin`, headerOffset);
  }
  const dataOffset =
    headerOffset + LOCAL.bytes + view.getUint16(26, true) + view.getUint16(28, true);
  if (dataOffset + entry.sizeBytes > entry.endsBefore) {
    refuse(`${quote(name)} overlaps what follows it`, headerOffset);
  }
  return dataOffset;
}

interface DirectoryPlace {
  readonly offset: number;
  readonly sizeBytes: number;
  readonly count: number;
  /** Where the record that follows it begins. */
  readonly endsAt: number;
}

function findDirectory(
  tail: Uint8Array,
  tailOffset: number,
  fileSizeBytes: number,
): DirectoryPlace {
  const view = viewOf(tail);
  const at = endRecord(view);
  if (at === undefined) return refuse('it has no end of a zip directory', fileSizeBytes);
  const place = {
    offset: view.getUint32(at + 16, true),
    sizeBytes: view.getUint32(at + 12, true),
    count: view.getUint16(at + 10, true),
    endsAt: tailOffset + at,
  };
  const locator = at - LOCATOR64.bytes;
  const isZip64 = locator >= 0 && view.getUint32(locator, true) === LOCATOR64.signature;
  if (!isZip64) {
    const disks = [view.getUint16(at + 4, true), view.getUint16(at + 6, true)];
    if (disks.some((disk) => disk !== 0)) refuse('it has several disks', tailOffset + at + 4);
    return place;
  }
  const end64 = unsigned64(view, locator + 8);
  const inTail = end64 - tailOffset;
  if (
    !(inTail >= 0 && inTail + END64.bytes <= locator) ||
    view.getUint32(inTail, true) !== END64.signature
  ) {
    refuse('its zip64 record is not where it should be', tailOffset + locator + 8);
  }
  return {
    offset: unsigned64(view, inTail + 48),
    sizeBytes: unsigned64(view, inTail + 40),
    count: unsigned64(view, inTail + 32),
    endsAt: end64,
  };
}

/** The index of the last end record whose comment reaches exactly to the end of the file. */
function endRecord(view: DataView): number | undefined {
  const last = view.byteLength - END.bytes;
  for (let at = last; at >= Math.max(0, last - MAX_COMMENT_BYTES); at--) {
    const isRecord = view.getUint32(at, true) === END.signature;
    if (isRecord && at + END.bytes + view.getUint16(at + 20, true) === view.byteLength) return at;
  }
  return undefined;
}

function entriesOf(
  directory: Uint8Array,
  directoryOffset: number,
  count: number,
): ReadonlyMap<string, ZipEntry> {
  const view = viewOf(directory);
  const found: { entry: Omit<ZipEntry, 'endsBefore'>; nameBytes: number; at: number }[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const offset = directoryOffset + at;
    if (at + CENTRAL.bytes > directory.length) refuse(`entry ${i} of ${count} is missing`, offset);
    if (view.getUint32(at, true) !== CENTRAL.signature) refuse(`entry ${i} is damaged`, offset);
    const nameBytes = view.getUint16(at + 28, true);
    const extraBytes = view.getUint16(at + 30, true);
    const begin = at + CENTRAL.bytes;
    const end = begin + nameBytes + extraBytes + view.getUint16(at + 32, true);
    if (end > directory.length) refuse(`entry ${i} is cut short`, offset);
    const name = decodeUtf8(directory.subarray(begin, begin + nameBytes), (index) =>
      refuse(`the name of entry ${i} is not valid UTF-8`, directoryOffset + begin + index),
    );
    // Names are never used as paths here; a reader that does is to be spared.
    if (leadsOut(name)) {
      refuse(`the name ${quote(name)} leads out of a folder`, directoryOffset + begin);
    }
    if ((view.getUint16(at + 8, true) & 0x41) !== 0) refuse(`${quote(name)} is encrypted`, offset);
    const isStored = view.getUint16(at + 10, true) === 0;
    const extra = directory.subarray(begin + nameBytes, begin + nameBytes + extraBytes);
    const [fullBytes, sizeBytes, headerOffset] = zip64Numbers(extra, [
      view.getUint32(at + 24, true),
      view.getUint32(at + 20, true),
      view.getUint32(at + 42, true),
    ]);
    if (isStored && sizeBytes !== fullBytes) refuse(`${quote(name)} has two sizes`, offset + 20);
    const checksum = view.getUint32(at + 16, true);
    found.push({
      entry: { name, isStored, sizeBytes, checksum, headerOffset },
      nameBytes,
      at: offset,
    });
    at = end;
  }
  if (at !== directory.length) refuse('its directory has bytes left over', directoryOffset + at);

  found.sort((a, b) => a.entry.headerOffset - b.entry.headerOffset);
  const entries = new Map<string, ZipEntry>();
  for (const [i, { entry, nameBytes, at: offset }] of found.entries()) {
    const endsBefore = found[i + 1]?.entry.headerOffset ?? directoryOffset;
    const { name, headerOffset, sizeBytes } = entry;
    if (entries.has(name)) refuse(`${quote(name)} is there twice`, offset);
    if (!(headerOffset + LOCAL.bytes + nameBytes + sizeBytes <= endsBefore)) {
      refuse(
        `${quote(name)} (${sizeBytes} bytes from ${headerOffset} on) goes on beyond byte ${endsBefore}, where ` +
          `something else begins`,
        offset,
      );
    }
    entries.set(name, { ...entry, endsBefore });
  }
  return entries;
}

/** Numbers of an entry that 32 bits cannot hold, in the order of the field: size, stored size, offset. */
function zip64Numbers(
  extra: Uint8Array,
  numbers: readonly [number, number, number],
): readonly [number, number, number] {
  if (!numbers.includes(MAX_32)) return numbers;
  const view = viewOf(extra);
  for (let at = 0; at + 4 <= extra.length; ) {
    const end = at + 4 + view.getUint16(at + 2, true);
    if (view.getUint16(at, true) === ZIP64_FIELD && end <= extra.length) {
      let next = at + 4;
      const [size, stored, offset] = numbers.map((number) => {
        if (number !== MAX_32 || next + 8 > end) return number;
        next += 8;
        return unsigned64(view, next - 8);
      });
      return [size as number, stored as number, offset as number];
    }
    at = end;
  }
  return numbers;
}

/** Above 2 ** 53 it is no place in a file, and whatever it is compared with is less. */
function unsigned64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function refuse(problem: string, byteOffset: number): never {
  throw new CheckpointFileError(`not a whole archive: ${problem} (byte ${byteOffset})`, {
    byteOffset,
  });
}
