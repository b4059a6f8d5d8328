import { crc32 as portableCrc32 } from '../format/crc32.ts';

/** CRC-32 (IEEE) of bytes, continuing from `seed` (default 0). */
export type Checksum = (bytes: Uint8Array, seed?: number) => number;

let fastest: Promise<Checksum> | undefined;

/** The fastest CRC-32 at hand: Node's own (from 20.15), else the portable one. Both give the same values. */
export function fastestChecksum(): Promise<Checksum> {
  fastest ??= findFastest();
  return fastest;
}

async function findFastest(): Promise<Checksum> {
  try {
    const zlib: { crc32?: Checksum } = await import('node:zlib');
    return zlib.crc32 ?? portableCrc32;
  } catch {
    // A browser has no node:zlib.
    return portableCrc32;
  }
}
