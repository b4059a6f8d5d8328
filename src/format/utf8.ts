/**
 * The text that UTF-8 bytes hold. A byte order mark is kept.
 *
 * @param refuse throws the error for bytes that are not UTF-8, given the index of the first wrong one
 * (the number of bytes, when the last character is cut short).
 */
export function decodeUtf8(bytes: Uint8Array, refuse: (index: number) => never): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return refuse(firstWrongByte(bytes));
  }
}

/** Whether text holds half of a surrogate pair, which has no spelling in UTF-8. */
export function hasLoneSurrogate(text: string): boolean {
  return /\p{Surrogate}/u.test(text);
}

/** Malformed bytes are decoded as replacement characters, which spell other bytes again. */
function firstWrongByte(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes);
  const respelt = new TextEncoder().encode(text);
  const index = bytes.findIndex((byte, i) => byte !== respelt[i]);
  return index === -1 ? bytes.length : index;
}
