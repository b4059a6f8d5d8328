/**
 * A result as JSON. What JSON has no number for is a string: `"NaN"`, `"Infinity"`, `"-Infinity"`, and
 * whole numbers beyond 2 ** 53.
 */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, spell, 2);
}

function spell(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;
}
