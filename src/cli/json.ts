/**
 * A result as JSON. What JSON has no number for is a string: `"NaN"`, `"Infinity"`, `"-Infinity"`, and
 * whole numbers beyond 2 ** 53. What could steer a terminal is escaped, which means the same.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, spellNumber, 2).replace(
    /[\u007f-\u009f]|[\p{Cf}\p{Zl}\p{Zp}]/gu,
    escapeUnits,
  );
}

/** For `JSON.stringify`: numbers that JSON does not have, as strings. */
export function spellNumber(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}

function escapeUnits(character: string): string {
  const units = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}
