import { MisconfigurationError } from '../../errors.ts';
import { quote } from '../../format/json-scanner.ts';
import type { Checksum } from '../../saving/checksum.ts';
import type { StorageWriter } from '../../storages/storage.ts';
import type { WeightBytes } from '../weights.ts';
import { CENTRAL, END, END64, LOCAL, LOCATOR64, MAX_16, MAX_32, ZIP64_FIELD } from './layout.ts';

/** The extra field that fills the space before aligned bytes: the same that PyTorch writes. */
const PADDING_FIELD = 0x4246;
const PADDING_BYTE = 0x5a;

/** Names are UTF-8. */
const FLAGS = 0x0800;

/** 1 January 1980, the first day there is: equal contents give equal archives. */
const DATE = 0x0021;

/** From how many bytes on they are written. */
const BATCH_BYTES = 8 * 2 ** 20;

interface Written {
  readonly name: Uint8Array;
  readonly sizeBytes: number;
  readonly checksum: number;
  readonly headerOffset: number;
}

/**
 * Writes an archive of stored entries, the bytes of each beginning at a multiple of `alignment`, with zip64
 * where numbers need it. Publishing the file is the caller's.
 */
export class ZipWriter {
  readonly #writer: StorageWriter;
  readonly #alignment: number;
  readonly #checksum: Checksum;
  readonly #written: Written[] = [];
  #position = 0;
  /** What is not written yet: many small entries are written together. */
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;

  constructor(writer: StorageWriter, alignment: number, checksum: Checksum) {
    this.#writer = writer;
    this.#alignment = alignment;
    this.#checksum = checksum;
  }

  /**
   * Adds an entry of a head and the bytes that follow it. They must not change afterwards. What comes in parts
   * is read twice, since its checksum stands before it.
   *
   * @throws MisconfigurationError for a name of more than 65,535 bytes.
   */
  async add(name: string, head: Uint8Array, rest?: WeightBytes): Promise<void> {
    const bytes = encode(name);
    if (bytes.length > MAX_16) {
      throw new MisconfigurationError(
        `The name ${quote(name)} takes ${bytes.length} bytes, and one in an archive has at most ${MAX_16}: ` +
          'rename the weight.',
        { details: { nameBytes: bytes.length } },
      );
    }
    let checksum = this.#checksum(head, 0);
    let sizeBytes = head.length;
    const count = (part: Uint8Array): void => {
      checksum = this.#checksum(part, checksum);
      sizeBytes += part.length;
    };
    if (rest instanceof Uint8Array) count(rest);
    else if (rest !== undefined) for await (const part of rest()) count(part);
    const entry = { name: bytes, sizeBytes, checksum, headerOffset: this.#position };
    const header = localHeader(entry, this.#alignment);
    this.#position += header.length + sizeBytes;
    this.#written.push(entry);
    await this.#write(header);
    await this.#write(head);
    if (rest instanceof Uint8Array) await this.#write(rest);
    else if (rest !== undefined) for await (const part of rest()) await this.#write(part);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#waiting.push(bytes);
    this.#waitingBytes += bytes.length;
    if (this.#waitingBytes >= BATCH_BYTES) await this.#flush();
  }

  async #flush(): Promise<void> {
    const views = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    await this.#writer.write(views);
  }

  /** Writes the directory. Nothing can be added afterwards. */
  async finish(): Promise<void> {
    const headers = this.#written.map(centralHeader);
    const sizeBytes = headers.reduce((sum, { length }) => sum + length, 0);
    await this.#flush();
    await this.#writer.write([...headers, end(headers.length, sizeBytes, this.#position)]);
  }
}

function localHeader(entry: Written, alignment: number): Uint8Array {
  const { name, sizeBytes, checksum, headerOffset } = entry;
  const isLong = sizeBytes >= MAX_32;
  const numbers = isLong ? zip64Field([sizeBytes, sizeBytes]) : new Uint8Array();
  const before = headerOffset + LOCAL.bytes + name.length + numbers.length + 4;
  const padding = (alignment - (before % alignment)) % alignment;
  const bytes = new Uint8Array(LOCAL.bytes + name.length + numbers.length + 4 + padding);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, LOCAL.signature, true);
  view.setUint16(4, isLong ? 45 : 20, true);
  view.setUint16(6, FLAGS, true);
  view.setUint16(12, DATE, true);
  view.setUint32(14, checksum, true);
  view.setUint32(18, isLong ? MAX_32 : sizeBytes, true);
  view.setUint32(22, isLong ? MAX_32 : sizeBytes, true);
  view.setUint16(26, name.length, true);
  view.setUint16(28, numbers.length + 4 + padding, true);
  bytes.set(name, LOCAL.bytes);
  bytes.set(numbers, LOCAL.bytes + name.length);
  const at = LOCAL.bytes + name.length + numbers.length;
  view.setUint16(at, PADDING_FIELD, true);
  view.setUint16(at + 2, padding, true);
  return bytes.fill(PADDING_BYTE, at + 4);
}

function centralHeader({ name, sizeBytes, checksum, headerOffset }: Written): Uint8Array {
  const isLong = sizeBytes >= MAX_32;
  const isFar = headerOffset >= MAX_32;
  const numbers = [...(isLong ? [sizeBytes, sizeBytes] : []), ...(isFar ? [headerOffset] : [])];
  const extra = numbers.length > 0 ? zip64Field(numbers) : new Uint8Array();
  const bytes = new Uint8Array(CENTRAL.bytes + name.length + extra.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, CENTRAL.signature, true);
  view.setUint16(4, 45, true);
  view.setUint16(6, numbers.length > 0 ? 45 : 20, true);
  view.setUint16(8, FLAGS, true);
  view.setUint16(14, DATE, true);
  view.setUint32(16, checksum, true);
  view.setUint32(20, isLong ? MAX_32 : sizeBytes, true);
  view.setUint32(24, isLong ? MAX_32 : sizeBytes, true);
  view.setUint16(28, name.length, true);
  view.setUint16(30, extra.length, true);
  view.setUint32(42, isFar ? MAX_32 : headerOffset, true);
  bytes.set(name, CENTRAL.bytes);
  bytes.set(extra, CENTRAL.bytes + name.length);
  return bytes;
}

function zip64Field(numbers: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * numbers.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ZIP64_FIELD, true);
  view.setUint16(2, 8 * numbers.length, true);
  numbers.forEach((number, i) => {
    view.setBigUint64(4 + 8 * i, BigInt(number), true);
  });
  return bytes;
}

/** The end of an archive whose directory of `sizeBytes` begins at `offset`. */
function end(count: number, sizeBytes: number, offset: number): Uint8Array {
  const isLong = count >= MAX_16 || sizeBytes >= MAX_32 || offset >= MAX_32;
  const before = isLong ? END64.bytes + LOCATOR64.bytes : 0;
  const bytes = new Uint8Array(before + END.bytes);
  const view = new DataView(bytes.buffer);
  if (isLong) {
    view.setUint32(0, END64.signature, true);
    view.setBigUint64(4, BigInt(END64.bytes - 12), true);
    view.setUint16(12, 45, true);
    view.setUint16(14, 45, true);
    view.setBigUint64(24, BigInt(count), true);
    view.setBigUint64(32, BigInt(count), true);
    view.setBigUint64(40, BigInt(sizeBytes), true);
    view.setBigUint64(48, BigInt(offset), true);
    view.setUint32(END64.bytes, LOCATOR64.signature, true);
    view.setBigUint64(END64.bytes + 8, BigInt(offset + sizeBytes), true);
    view.setUint32(END64.bytes + 16, 1, true);
  }
  view.setUint32(before, END.signature, true);
  view.setUint16(before + 8, Math.min(count, MAX_16), true);
  view.setUint16(before + 10, Math.min(count, MAX_16), true);
  view.setUint32(before + 12, Math.min(sizeBytes, MAX_32), true);
  view.setUint32(before + 16, Math.min(offset, MAX_32), true);
  return bytes;
}

function encode(name: string): Uint8Array {
  return new TextEncoder().encode(name);
}
