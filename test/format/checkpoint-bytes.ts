import { CheckpointFileError } from '../../src/errors.ts';
import {
  type CheckpointTensor,
  planFile,
  readIndex,
  type StoredTensor,
} from '../../src/format/checkpoint-file.ts';
import { crc32 } from '../../src/format/crc32.ts';
import type { JsonObject } from '../../src/format/json.ts';

export interface TensorWithBytes extends CheckpointTensor {
  readonly bytes: Uint8Array;
}

export interface StoredTensorWithBytes extends StoredTensor {
  readonly bytes: Uint8Array;
}

/** A whole checkpoint file in memory, written as a saver writes it. */
export function writeCheckpoint(
  document: JsonObject,
  tensors: readonly TensorWithBytes[],
): Uint8Array {
  const plan = planFile(document, tensors);
  const file = new Uint8Array(plan.sizeBytes);
  let offset = plan.headerBytes;
  const checksums = plan.order.map((index) => {
    const { bytes } = tensors[index] as TensorWithBytes;
    file.set(bytes, offset);
    offset += bytes.length;
    return crc32(bytes);
  });
  if (offset !== file.length) throw new Error('the bytes given do not fill the file');
  file.set(plan.header(checksums));
  return file;
}

/** Reads a whole file as a loader does: its index, then each tensor against its checksum. */
export function readCheckpoint(file: Uint8Array): {
  readonly document: JsonObject | undefined;
  readonly tensors: readonly StoredTensorWithBytes[];
} {
  const { document, tensors } = readIndex(file, file.length);
  const withBytes = tensors.map((tensor) => {
    const bytes = file.subarray(tensor.offset, tensor.offset + tensor.sizeBytes);
    if (tensor.checksum !== undefined && crc32(bytes) !== tensor.checksum) {
      throw new CheckpointFileError(`${tensor.name} is damaged`, { byteOffset: tensor.offset });
    }
    return { ...tensor, bytes };
  });
  return { document, tensors: withBytes };
}

/** The bytes of a typed array. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A file whose header is this text (not padded) and whose data are `dataBytes` zeros. */
export function fileWithHeader(header: string | Uint8Array, dataBytes = 0): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + json.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  return file;
}
