/**
 * `TABLES[256 * k + b]` is the checksum of byte `b` followed by `k` zero bytes, so that sixteen bytes
 * can be taken at once. (The reflected polynomial of IEEE 802.3.)
 */
const TABLES: Int32Array = /* @__PURE__ */ makeTables(0xedb88320, 16);

function makeTables(polynomial: number, count: number): Int32Array {
  const tables = new Int32Array(256 * count);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? polynomial : 0);
    tables[byte] = crc;
  }
  for (let i = 256; i < tables.length; i++) {
    const before = tables[i - 256] as number;
    tables[i] = (before >>> 8) ^ (tables[before & 255] as number);
  }
  return tables;
}

/**
 * The CRC-32 (IEEE 802.3, as in gzip and PNG) of `bytes`, continuing from `seed`: the checksum of what
 * came before, 0 at the start. `crc32(b, crc32(a))` is the checksum of `a` followed by `b`.
 *
 * Takes and gives what Node's `zlib.crc32` does, which can be used in its place where it exists.
 *
 * @returns an integer in [0, 2 ** 32).
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  const t = TABLES;
  const end = bytes.length;
  const endOfBlocks = end - (end % 16);
  let crc = ~seed;
  let i = 0;
  for (; i < endOfBlocks; i += 16) {
    crc =
      t[3840 + ((crc ^ bytes[i]!) & 255)]! ^
      t[3584 + (((crc >>> 8) ^ bytes[i + 1]!) & 255)]! ^
      t[3328 + (((crc >>> 16) ^ bytes[i + 2]!) & 255)]! ^
      t[3072 + ((crc >>> 24) ^ bytes[i + 3]!)]! ^
      t[2816 + bytes[i + 4]!]! ^
      t[2560 + bytes[i + 5]!]! ^
      t[2304 + bytes[i + 6]!]! ^
      t[2048 + bytes[i + 7]!]! ^
      t[1792 + bytes[i + 8]!]! ^
      t[1536 + bytes[i + 9]!]! ^
      t[1280 + bytes[i + 10]!]! ^
      t[1024 + bytes[i + 11]!]! ^
      t[768 + bytes[i + 12]!]! ^
      t[512 + bytes[i + 13]!]! ^
      t[256 + bytes[i + 14]!]! ^
      t[bytes[i + 15]!]!;
  }
  for (; i < end; i++) crc = (crc >>> 8) ^ t[(crc ^ bytes[i]!) & 255]!;
  return ~crc >>> 0;
}
