import { CheckpointFileError, MisconfigurationError } from '../errors.ts';
import { type DType, isDType, tensorSizeBytes } from './dtype.ts';
import { JsonScanner, quote } from './json-scanner.ts';
import { layOut, type TensorLayout, type TensorSpec } from './tensor-layout.ts';
import { decodeUtf8, hasLoneSurrogate } from './utf8.ts';

/** Bytes of the little-endian length that a file begins with. */
const LENGTH_BYTES = 8;

/** The longest header in bytes, without its length: the limit of the reference implementation. */
const MAX_HEADER_BYTES = 100_000_000;

/** What sound files of other formats begin with, none of which is the length of a header. */
const OTHER_FORMATS: readonly (readonly [start: readonly number[], what: string])[] = [
  [
    [0x50, 0x4b, 0x03, 0x04],
    'a zip archive, as PyTorch and Lightning write: turn it into a checkpoint with ' +
      "'highwater import', or importTorch from 'highwater/torch'",
  ],
  [
    [0x80, 0x02, 0x8a, 0x0a],
    'a pickle, as PyTorch wrote before 1.6: load it in Python and save it again with torch.save',
  ],
  [[0x89, 0x48, 0x44, 0x46], 'an HDF5 file, as Keras writes'],
];

/** The key of a header that is no tensor. */
const METADATA_KEY = '__metadata__';

/** A tensor in a file: bytes `[offset, offset + sizeBytes)`, counted from the start of the file. */
export interface TensorRange extends TensorSpec {
  readonly offset: number;
  readonly sizeBytes: number;
  /** Where its name stands in the text of the header; see {@link SafetensorsHeader.byteAt}. */
  readonly position: number;
}

/** A value of a header's metadata. */
export interface MetadataEntry {
  readonly value: string;
  /** Where its opening quote stands in the text of the header; see {@link SafetensorsHeader.byteAt}. */
  readonly position: number;
}

/** The header of a file, checked against the size of the file. */
export interface SafetensorsHeader {
  /** The bytes of the header with its length, which is where the data begins. */
  readonly headerBytes: number;
  /** In the order of their data, which they cover without hole or overlap. */
  readonly tensors: readonly TensorRange[];
  /** Empty when the file has none. */
  readonly metadata: ReadonlyMap<string, MetadataEntry>;
  /** The byte of the file at a position (in UTF-16 units) in the text of the header. */
  byteAt(position: number): number;
}

/**
 * The start of a file up to its data: the length, the header (metadata first, in the order of its keys,
 * then the tensors in the order of their data) and spaces up to a multiple of 8 bytes. The same
 * arguments give the same bytes.
 *
 * Source: the safetensors format, https://huggingface.co/docs/safetensors/index#format
 *
 * @param layout what {@link layOut} gives for the same tensors.
 * @throws MisconfigurationError (`MISCONFIGURATION`) for what {@link layOut} refuses, a tensor's name that
 * stands twice, is `__metadata__` or `__proto__`, or is not valid Unicode, the metadata key `__proto__`,
 * and a header of more than 100,000,000 bytes.
 */
export function encodeHeader(
  tensors: readonly TensorSpec[],
  metadata: Readonly<Record<string, string>>,
  layout: TensorLayout = layOut(tensors),
): Uint8Array {
  checkNames(tensors, metadata);
  const members: string[] = [];
  if (Object.keys(metadata).length > 0) {
    members.push(`"${METADATA_KEY}":${JSON.stringify(metadata)}`);
  }
  let begin = 0;
  layout.order.forEach((index, i) => {
    const { name, dtype, shape } = tensors[index] as TensorSpec;
    const end = begin + (layout.sizesBytes[i] as number);
    members.push(
      `${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape.join(',')}],` +
        `"data_offsets":[${begin},${end}]}`,
    );
    begin = end;
  });
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const paddedBytes = Math.ceil(json.length / 8) * 8;
  if (paddedBytes > MAX_HEADER_BYTES) {
    throw new MisconfigurationError(
      `the header would take ${paddedBytes} bytes, and at most ${MAX_HEADER_BYTES} are allowed: ` +
        'keep what is large in tensors',
      { details: { headerBytes: paddedBytes } },
    );
  }
  const bytes = new Uint8Array(LENGTH_BYTES + paddedBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(paddedBytes), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes.fill(0x20, LENGTH_BYTES + json.length);
}

function checkNames(tensors: readonly TensorSpec[], metadata: object): void {
  if (Object.hasOwn(metadata, '__proto__')) {
    throw new MisconfigurationError('the metadata key "__proto__" is not allowed');
  }
  const names = new Set<string>();
  for (const { name } of tensors) {
    const refuseName = (problem: string): never => {
      throw new MisconfigurationError(`the tensor ${quote(name)} ${problem}`, {
        details: { name },
      });
    };
    if (name === METADATA_KEY || name === '__proto__') refuseName('has a reserved name');
    if (hasLoneSurrogate(name)) refuseName('has a name that is not valid Unicode');
    if (names.has(name)) refuseName('is there twice');
    names.add(name);
  }
}

/**
 * How many bytes, from the start of the file, hold the header with its length.
 *
 * @param start the first 8 bytes of the file, or more; fewer only when the file has fewer.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) for a file of less than 8 bytes, a header of more
 * than 100,000,000 bytes, and one that goes on after the file ends (`byteOffset` is then its size);
 * `CHECKPOINT_FOREIGN` for what begins as a file of PyTorch or Keras.
 */
export function headerSizeBytes(start: Uint8Array, fileSizeBytes: number): number {
  const givenBytes = Math.min(start.length, fileSizeBytes);
  if (givenBytes < LENGTH_BYTES) refuse('the file ends in its first 8 bytes', givenBytes);
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    const [, other] =
      OTHER_FORMATS.find(([bytes]) => bytes.every((byte, i) => start[i] === byte)) ?? [];
    if (other !== undefined) {
      throw new CheckpointFileError(`not a safetensors file: this is ${other}`, {
        code: 'CHECKPOINT_FOREIGN',
        byteOffset: 0,
      });
    }
    refuse(
      `the header claims ${length} bytes, and at most ${MAX_HEADER_BYTES} are allowed: ` +
        'this is no safetensors file, or its start is damaged',
      0,
    );
  }
  const headerBytes = LENGTH_BYTES + Number(length);
  if (headerBytes > fileSizeBytes) {
    refuse(`the header claims ${length} bytes, and the file ends before`, fileSizeBytes);
  }
  return headerBytes;
}

/**
 * Reads and checks a header, trusting nothing in it.
 *
 * @param bytes the start of the file: its header ({@link headerSizeBytes} says how much that is), or more.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`), `byteOffset` being the first wrong byte of the
 * file, for what {@link headerSizeBytes} refuses, invalid UTF-8, what is not JSON, a key that stands
 * twice or is `__proto__`, anything but exactly `dtype`, `shape` and `data_offsets` in a tensor, a dtype
 * that is not known, numbers that are not whole, not in [0, 2 ** 53) or do not agree with each other,
 * metadata that are not strings, and data with holes, overlaps, missing or left over bytes.
 */
export function decodeHeader(bytes: Uint8Array, fileSizeBytes: number): SafetensorsHeader {
  const headerBytes = headerSizeBytes(bytes, fileSizeBytes);
  if (bytes.length < headerBytes) refuse('the header is cut short', bytes.length);
  const json = bytes.subarray(LENGTH_BYTES, headerBytes);
  const text = decodeUtf8(json, (i) => refuse('the header is not valid UTF-8', LENGTH_BYTES + i));
  const byteAt = (position: number): number => {
    if (text.length === json.length) return LENGTH_BYTES + position;
    return LENGTH_BYTES + new TextEncoder().encode(text.slice(0, position)).length;
  };
  const scanner = new JsonScanner(text, (message, position) => refuse(message, byteAt(position)));
  const metadata = new Map<string, MetadataEntry>();
  const claims: TensorClaim[] = [];
  scanner.object('a header, which begins with {', (key, keyPosition) => {
    if (key === METADATA_KEY) readMetadata(scanner, metadata);
    else claims.push(readTensor(scanner, key, keyPosition));
  });
  scanner.end();
  const dataBytes = checkCover(scanner, claims);
  if (headerBytes + dataBytes > fileSizeBytes) {
    refuse(`the file is cut short: it should have ${headerBytes + dataBytes} bytes`, fileSizeBytes);
  }
  if (headerBytes + dataBytes < fileSizeBytes) {
    refuse('the file goes on after its last tensor', headerBytes + dataBytes);
  }
  const tensors = claims.map(({ name, dtype, shape, position, begin, end }) => ({
    name,
    dtype,
    shape,
    offset: headerBytes + begin.value,
    sizeBytes: end.value - begin.value,
    position,
  }));
  return { headerBytes, tensors, metadata, byteAt };
}

interface Unsigned {
  readonly value: number;
  readonly position: number;
}

/** What a header says of a tensor; `begin` and `end` count from the start of the data. */
interface TensorClaim extends TensorSpec {
  readonly position: number;
  readonly begin: Unsigned;
  readonly end: Unsigned;
}

function readMetadata(scanner: JsonScanner, metadata: Map<string, MetadataEntry>): void {
  scanner.object('an object of strings', (key) => {
    const position = scanner.next();
    metadata.set(key, { value: scanner.string('a string'), position });
  });
}

function readTensor(scanner: JsonScanner, name: string, position: number): TensorClaim {
  if (hasLoneSurrogate(name)) scanner.fail('the name is not valid Unicode', position);
  const found: { dtype?: DType; shape?: readonly number[]; offsets?: readonly Unsigned[] } = {};
  scanner.object('a tensor, which begins with {', (key, keyPosition) => {
    if (key === 'dtype') found.dtype = readDType(scanner);
    else if (key === 'shape') found.shape = readShape(scanner);
    else if (key === 'data_offsets') found.offsets = readOffsets(scanner);
    else scanner.fail(`a tensor has no ${quote(key)}`, keyPosition);
  });
  const { dtype, shape, offsets } = found;
  const refuseTensor = (problem: string, at = position): never =>
    scanner.fail(`the tensor ${quote(name)} ${problem}`, at);
  if (dtype === undefined) return refuseTensor('has no dtype');
  if (shape === undefined) return refuseTensor('has no shape');
  if (offsets === undefined) return refuseTensor('has no data_offsets');
  const [begin, end, surplus] = offsets;
  if (begin === undefined || end === undefined) return refuseTensor('needs two data_offsets');
  if (surplus !== undefined)
    return refuseTensor('has more than two data_offsets', surplus.position);
  const sizeBytes = tensorSizeBytes(dtype, shape);
  if (sizeBytes === undefined) return refuseTensor('has a shape that is too large');
  if (end.value - begin.value !== sizeBytes) {
    refuseTensor(
      `has ${sizeBytes} bytes by dtype and shape, but offsets ${begin.value} to ${end.value}`,
      end.position,
    );
  }
  return { name, dtype, shape, position, begin, end };
}

function readDType(scanner: JsonScanner): DType {
  const start = scanner.next();
  const name = scanner.string('a dtype');
  return isDType(name) ? name : scanner.fail(`the dtype ${quote(name)} is not known`, start);
}

function readShape(scanner: JsonScanner): number[] {
  const shape: number[] = [];
  scanner.array('an array of numbers', () => shape.push(readUnsigned(scanner)));
  return shape;
}

function readOffsets(scanner: JsonScanner): Unsigned[] {
  const offsets: Unsigned[] = [];
  scanner.array('an array of numbers', () => {
    const position = scanner.next();
    offsets.push({ value: readUnsigned(scanner), position });
  });
  return offsets;
}

function readUnsigned(scanner: JsonScanner): number {
  return scanner.unsigned('a whole number, not negative');
}

/** Puts tensors in the order of their data, checks that they touch, and says how much they cover. */
function checkCover(scanner: JsonScanner, claims: TensorClaim[]): number {
  claims.sort((a, b) => a.begin.value - b.begin.value || a.end.value - b.end.value);
  let covered = 0;
  for (const { name, begin, end } of claims) {
    if (begin.value !== covered) {
      const problem = begin.value < covered ? 'overlaps another' : 'comes after a hole';
      scanner.fail(
        `the tensor ${quote(name)} ${problem}: it begins at ${begin.value}, not ${covered}`,
        begin.position,
      );
    }
    covered = end.value;
  }
  return covered;
}

function refuse(problem: string, byteOffset: number): never {
  throw new CheckpointFileError(`not a whole safetensors file: ${problem} (byte ${byteOffset})`, {
    byteOffset,
  });
}
