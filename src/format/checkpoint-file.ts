import { CheckpointFileError, MisconfigurationError } from '../errors.ts';
import { crc32 } from './crc32.ts';
import type { DType } from './dtype.ts';
import { decodeJson, encodeJson, type JsonObject, type JsonValue, TensorRef } from './json.ts';
import { quote } from './json-scanner.ts';
import {
  decodeHeader,
  encodeHeader,
  type MetadataEntry,
  type SafetensorsHeader,
  type TensorRange,
} from './safetensors.ts';
import { layOut } from './tensor-layout.ts';

export { headerSizeBytes } from './safetensors.ts';

/** The format that is written, and the newest that is read. */
const FORMAT_VERSION = 1;

const RESERVED_PREFIX = '__highwater__/';

const FORMAT_KEY = 'highwater.format';
const HEADER_KEY = 'highwater.header';
const CHECKSUMS_KEY = 'highwater.checksums';
const DOCUMENT_KEY = 'highwater.document';

const CHECKSUM_DIGITS = 8;
const NO_CHECKSUM = '0'.repeat(CHECKSUM_DIGITS);

/** Where the checksum of the header stands in each header that {@link planFile} makes. */
const HEADER_CHECKSUM_OFFSET =
  8 + `{"__metadata__":{"${FORMAT_KEY}":"${FORMAT_VERSION}","${HEADER_KEY}":"`.length;

/** Where the checksums of the tensors stand in each header that {@link planFile} makes. */
const CHECKSUMS_OFFSET = HEADER_CHECKSUM_OFFSET + `${NO_CHECKSUM}","${CHECKSUMS_KEY}":"`.length;

/**
 * What a tensor is to a checkpoint: a weight (`model`, under its own name in the file), a slot of an
 * optimizer, a gradient accumulated so far, the state of a random generator, or one that the user
 * nested in the document (`extra`, where a `TensorRef` stands for it).
 */
export type TensorGroup = 'model' | 'optimizer' | 'gradient' | 'rng' | 'extra';

const GROUPS: ReadonlySet<string> = new Set<TensorGroup>(['optimizer', 'gradient', 'rng', 'extra']);

/** A tensor of a checkpoint, without its data. Names are unique within a group. */
export interface CheckpointTensor {
  readonly group: TensorGroup;
  readonly name: string;
  readonly dtype: DType;
  /** Non-negative integers; `[]` for a scalar. */
  readonly shape: readonly number[];
}

/** A checkpoint file before it is written: its header, then the tensors in {@link order}, nothing else. */
export interface FilePlan {
  /** Indices into the given tensors, in the order of their data. */
  readonly order: readonly number[];
  /** The whole file in bytes. */
  readonly sizeBytes: number;
  /** The header in bytes, where the data begins: a multiple of 8. */
  readonly headerBytes: number;
  /** Where the bytes of each tensor lie in the file, in {@link order}. */
  readonly ranges: readonly { readonly offset: number; readonly length: number }[];
  /**
   * The header, a new array at each call. Its length does not depend on the checksums, so it can be
   * written before they are known and written over when they are.
   *
   * @param checksums the CRC-32 of each tensor's bytes, in {@link order}. When absent the header is a
   * placeholder that no reader accepts.
   * @throws MisconfigurationError (`MISCONFIGURATION`) for another number of checksums.
   */
  header(checksums?: readonly number[]): Uint8Array;
}

/** A tensor in a file. */
export interface StoredTensor extends CheckpointTensor {
  /** Where its bytes begin, from the start of the file; a multiple of its element size. */
  readonly offset: number;
  readonly sizeBytes: number;
  /** The CRC-32 that its bytes must have; undefined in a file that Highwater did not write. */
  readonly checksum: number | undefined;
}

/** What is in a file, by its header. */
export interface FileIndex {
  /** Undefined for a plain safetensors file that Highwater did not write: it has weights only. */
  readonly formatVersion: number | undefined;
  /** Undefined exactly when the format version is. */
  readonly document: JsonObject | undefined;
  /** In the order of their data. */
  readonly tensors: readonly StoredTensor[];
}

/**
 * Lays out a checkpoint as one safetensors file. Pure: equal arguments give equal bytes, and the tensors
 * are laid out alike in whatever order they are given.
 *
 * The metadata of the file holds, all as strings: `highwater.format` (`1`); `highwater.header` (the
 * CRC-32 of the header with its length, taken with these 8 hexadecimal digits as `0`);
 * `highwater.checksums` (8 digits for each tensor, in the order of data); `highwater.document` (JSON).
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for a document that JSON cannot hold (the message
 * names the path, as `hyperParameters.lr`) or that refers to an `extra` tensor which is not given, a
 * model tensor whose name begins with `__highwater__/`, two tensors of one group and name, a dtype or
 * shape that cannot be, and a header of more than 100,000,000 bytes.
 */
export function planFile(document: JsonObject, tensors: readonly CheckpointTensor[]): FilePlan {
  const extra = new Set(tensors.filter(({ group }) => group === 'extra').map(({ name }) => name));
  const specs = tensors.map((tensor) => {
    const { dtype, shape } = tensor;
    return { name: nameInFile(tensor), dtype, shape };
  });
  const layout = layOut(specs);
  const metadata = {
    [FORMAT_KEY]: String(FORMAT_VERSION),
    [HEADER_KEY]: NO_CHECKSUM,
    [CHECKSUMS_KEY]: NO_CHECKSUM.repeat(tensors.length),
    [DOCUMENT_KEY]: encodeJson(document, extra),
  };
  const template = encodeHeader(specs, metadata, layout);
  return {
    order: layout.order,
    sizeBytes: template.length + layout.dataBytes,
    headerBytes: template.length,
    ranges: rangesFrom(template.length, layout.sizesBytes),
    header(checksums) {
      const header = template.slice();
      if (checksums === undefined) return header;
      if (checksums.length !== tensors.length) {
        throw new MisconfigurationError(
          `${checksums.length} checksums were given for ${tensors.length} tensors`,
        );
      }
      checksums.forEach((checksum, i) => {
        writeChecksum(header, CHECKSUMS_OFFSET + i * CHECKSUM_DIGITS, checksum);
      });
      writeChecksum(header, HEADER_CHECKSUM_OFFSET, crc32(header));
      return header;
    },
  };
}

/**
 * What a file holds, by its header alone, which is checked in full; the bytes of the tensors are for the
 * caller to check against their checksums.
 *
 * @param header the start of the file: its header (`headerSizeBytes` says how much that is), or more.
 * @throws CheckpointFileError with the `byteOffset` of the first wrong byte; `CHECKPOINT_INVALID` for
 * what `decodeHeader` refuses, Highwater's metadata incomplete or malformed, a header that does not have
 * its checksum, and a document that is not an object; `CHECKPOINT_VERSION` for a newer format.
 */
export function readIndex(header: Uint8Array, fileSizeBytes: number): FileIndex {
  const decoded = decodeHeader(header, fileSizeBytes);
  const { tensors, metadata } = decoded;
  if (![...metadata.keys()].some((key) => key.startsWith('highwater.'))) {
    const plain = tensors.map((tensor) => store(tensor, 'model', tensor.name, undefined));
    return { formatVersion: undefined, document: undefined, tensors: plain };
  }
  const bytes = header.subarray(0, decoded.headerBytes);
  const formatVersion = readFormatVersion(decoded);
  checkHeaderChecksum(decoded, bytes);
  const checksums = readChecksums(decoded);
  const stored = tensors.map((tensor, i) => {
    const [group, name] = splitName(decoded, tensor);
    return store(tensor, group, name, checksums[i]);
  });
  return { formatVersion, document: readDocument(decoded, bytes, stored), tensors: stored };
}

function rangesFrom(start: number, sizesBytes: readonly number[]): FilePlan['ranges'] {
  let offset = start;
  return sizesBytes.map((length) => {
    const range = { offset, length };
    offset += length;
    return range;
  });
}

function nameInFile({ group, name }: CheckpointTensor): string {
  if (group !== 'model') return `${RESERVED_PREFIX}${group}/${name}`;
  if (!name.startsWith(RESERVED_PREFIX)) return name;
  throw new MisconfigurationError(
    `the model's tensor ${quote(name)} has a reserved name: none may begin with "${RESERVED_PREFIX}"`,
    { details: { name } },
  );
}

function splitName(header: SafetensorsHeader, tensor: TensorRange): [TensorGroup, string] {
  if (!tensor.name.startsWith(RESERVED_PREFIX)) return ['model', tensor.name];
  const slash = tensor.name.indexOf('/', RESERVED_PREFIX.length);
  const group = tensor.name.slice(RESERVED_PREFIX.length, Math.max(slash, 0));
  if (!GROUPS.has(group)) {
    refuse(`the tensor ${quote(tensor.name)} is of no known group`, header.byteAt(tensor.position));
  }
  return [group as TensorGroup, tensor.name.slice(slash + 1)];
}

function store(
  { dtype, shape, offset, sizeBytes }: TensorRange,
  group: TensorGroup,
  name: string,
  checksum: number | undefined,
): StoredTensor {
  return { group, name, dtype, shape, offset, sizeBytes, checksum };
}

function entryOf(header: SafetensorsHeader, key: string): MetadataEntry {
  return header.metadata.get(key) ?? refuse(`its metadata have no ${key}`, header.byteAt(0));
}

function readFormatVersion(header: SafetensorsHeader): number {
  const { value, position } = entryOf(header, FORMAT_KEY);
  const byteOffset = header.byteAt(position + 1);
  if (!/^[1-9]\d{0,8}$/.test(value)) refuse(`${quote(value)} is no format version`, byteOffset);
  const version = Number(value);
  if (version > FORMAT_VERSION) {
    throw new CheckpointFileError(
      `this checkpoint is in format ${version}, and this version of Highwater reads formats up to ` +
        `${FORMAT_VERSION}: a version that reads format ${version} is needed`,
      {
        code: 'CHECKPOINT_VERSION',
        byteOffset,
        details: { formatVersion: version, newestReadable: FORMAT_VERSION },
      },
    );
  }
  return version;
}

function checkHeaderChecksum(header: SafetensorsHeader, bytes: Uint8Array): void {
  const { value, position } = entryOf(header, HEADER_KEY);
  const offset = header.byteAt(position + 1);
  if (!/^[0-9a-f]{8}$/.test(value)) refuse('the checksum of its header is malformed', offset);
  const zeros = new TextEncoder().encode(NO_CHECKSUM);
  const beforeAndZeros = crc32(zeros, crc32(bytes.subarray(0, offset)));
  const checksum = crc32(bytes.subarray(offset + CHECKSUM_DIGITS), beforeAndZeros);
  if (checksum !== Number.parseInt(value, 16)) {
    refuse('its header does not have the checksum that it states', offset);
  }
}

function readChecksums(header: SafetensorsHeader): number[] {
  const { value, position } = entryOf(header, CHECKSUMS_KEY);
  const count = header.tensors.length;
  if (value.length !== count * CHECKSUM_DIGITS || !/^[0-9a-f]*$/.test(value)) {
    refuse(`it does not have ${count} checksums for as many tensors`, header.byteAt(position + 1));
  }
  return header.tensors.map((_, i) =>
    Number.parseInt(value.slice(i * CHECKSUM_DIGITS, (i + 1) * CHECKSUM_DIGITS), 16),
  );
}

function readDocument(
  header: SafetensorsHeader,
  bytes: Uint8Array,
  tensors: readonly StoredTensor[],
): JsonObject {
  const { value, position } = entryOf(header, DOCUMENT_KEY);
  const start = header.byteAt(position + 1);
  const document = decodeJson(value, {
    tensors: new Set(tensors.filter(({ group }) => group === 'extra').map(({ name }) => name)),
    refuse: (problem, index) =>
      refuse(`in its document, ${problem}`, byteOfUnit(bytes, start, index)),
  });
  return isObject(document) ? document : refuse('its document is not an object', start);
}

function isObject(value: JsonValue): value is JsonObject {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof TensorRef)
  );
}

/** The byte of the `index`th UTF-16 unit of a JSON string whose content begins at byte `start`. */
function byteOfUnit(bytes: Uint8Array, start: number, index: number): number {
  let at = start;
  for (let units = 0; units < index; units++) {
    const byte = bytes[at] as number;
    if (byte === 0x5c) at += bytes[at + 1] === 0x75 ? 6 : 2;
    else if (byte < 0x80) at += 1;
    else if (byte < 0xe0) at += 2;
    else if (byte < 0xf0) at += 3;
    else {
      at += 4;
      units++;
    }
  }
  return at;
}

function writeChecksum(bytes: Uint8Array, offset: number, checksum: number): void {
  const digits = checksum.toString(16).padStart(CHECKSUM_DIGITS, '0');
  for (let i = 0; i < CHECKSUM_DIGITS; i++) bytes[offset + i] = digits.charCodeAt(i);
}

function refuse(problem: string, byteOffset: number): never {
  throw new CheckpointFileError(`not a whole checkpoint: ${problem} (byte ${byteOffset})`, {
    byteOffset,
  });
}
