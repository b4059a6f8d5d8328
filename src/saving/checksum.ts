import { crc32 as portableCrc32 } from '../format/crc32.ts';
import type { Checksum } from '../native-crc32.ts';

export type { Checksum };

let fastest: Promise<Checksum> | undefined;

/** The fastest CRC-32 at hand: a native one, else the portable one. All give the same values. */
export function fastestChecksum(): Promise<Checksum> {
  fastest ??= findFastest();
  return fastest;
}

async function findFastest(): Promise<Checksum> {
  try {
    const { nativeCrc32 } = await import('../native-crc32.ts');
    return nativeCrc32 ?? portableCrc32;
  } catch {
    // A browser has none of Node's modules.
    return portableCrc32;
  }
}
