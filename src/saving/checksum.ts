import { crc32 as portableCrc32 } from '../format/crc32.ts';
import type { Checksum } from '../native-crc32.ts';

export type { Checksum };

/** The fastest CRC-32 at hand: a native one, else the portable one. All give the same values. */
export async function fastestChecksum(): Promise<Checksum> {
  try {
    const { nativeCrc32 } = await import('../native-crc32.ts');
    return nativeCrc32 ?? portableCrc32;
  } catch {
    // A browser has none of Node's modules.
    return portableCrc32;
  }
}
