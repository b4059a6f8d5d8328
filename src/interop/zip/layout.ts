/** A structure of an archive: what it begins with, and its length without its variable parts. */
interface Structure {
  readonly signature: number;
  readonly bytes: number;
}

/** Before the bytes of an entry. */
export const LOCAL: Structure = { signature: 0x04034b50, bytes: 30 };
/** An entry of the directory. */
export const CENTRAL: Structure = { signature: 0x02014b50, bytes: 46 };
/** The last structure of a file. */
export const END: Structure = { signature: 0x06054b50, bytes: 22 };
/** What the last structure cannot hold, in 64 bits. */
export const END64: Structure = { signature: 0x06064b50, bytes: 56 };
/** Says where that is. */
export const LOCATOR64: Structure = { signature: 0x07064b50, bytes: 20 };

/** The extra field of an entry that holds what its 32 bits cannot. */
export const ZIP64_FIELD = 0x0001;

/** In 32 bits: the number stands elsewhere, in 64. */
export const MAX_32 = 0xffffffff;
/** The same in 16 bits. */
export const MAX_16 = 0xffff;

/** Whether a name leads out of the folder that an archive is unpacked into: the mark of an attack. */
export function leadsOut(name: string): boolean {
  return /[\\\0]/.test(name) || /^([A-Za-z]:|\/)/.test(name) || name.split('/').includes('..');
}
