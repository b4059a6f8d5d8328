import { concat } from './protobuf.ts';

/** `TABLE[b]` is the checksum of byte `b`. (The reflected polynomial of Castagnoli.) */
const TABLE: Int32Array = /* @__PURE__ */ Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  return crc;
});

/** The CRC-32C (Castagnoli, as in iSCSI and ext4) of `bytes`: an integer in [0, 2 ** 32). */
export function crc32c(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255]!;
  return ~crc >>> 0;
}

/**
 * One record of a TFRecord file: length, checksum of the length, data, checksum of the data.
 *
 * Source: TensorFlow 2, `tensorflow/core/lib/io/record_writer.h`.
 */
export function record(data: Uint8Array): Uint8Array {
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(data.length), true);
  return concat([length, masked(length), data, masked(data)]);
}

/** A checksum of bytes that hold checksums is weak, so TensorFlow rotates and offsets it. */
function masked(bytes: Uint8Array): Uint8Array {
  const crc = crc32c(bytes);
  const rotated = ((crc >>> 15) | (crc << 17)) >>> 0;
  const encoded = new Uint8Array(4);
  new DataView(encoded.buffer).setUint32(0, (rotated + 0xa282ead8) >>> 0, true);
  return encoded;
}
