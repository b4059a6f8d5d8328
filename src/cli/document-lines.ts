import type { JsonValue } from '../index.ts';
import { documentLeaves } from '../inspection/index.ts';
import { spellNumber } from './json.ts';
import { number } from './render.ts';
import { shownPath } from './shown-path.ts';

/** How long a value may be before it is cut. */
const LONGEST = 100;

/** How many items of a long array are shown. */
const MOST_ITEMS = 5;

/**
 * A nested value as rows of a dotted name and a short text: `optimizer.lr`, `0.001`. An array is one row, or a
 * row for each of its first items when it is long.
 */
export function documentLines(
  value: JsonValue,
): readonly (readonly [name: string, text: string])[] {
  return documentLeaves(value).flatMap(([name, leaf]) => rowsOf(name, leaf));
}

function rowsOf(name: string, value: unknown): readonly (readonly [string, string])[] {
  const isLong = Array.isArray(value) && JSON.stringify(value, spellNumber).length > LONGEST;
  if (!isLong) return [[name, valueText(value)]];
  const shown = value.slice(0, MOST_ITEMS).map((item: unknown, i): [string, string] => {
    const text = Array.isArray(item) ? item.map(valueText).join('  ') : valueText(item);
    return [i === 0 ? name : '', text];
  });
  const more = value.length - shown.length;
  return more > 0 ? [...shown, ['', `… ${more} more`]] : shown;
}

/** A value in one line. */
export function valueText(value: unknown): string {
  if (typeof value === 'number')
    return Number.isInteger(value) ? String(value) : shortNumber(value);
  if (typeof value === 'string' && value.startsWith('/')) return shownPath(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value, spellNumber);
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** A hyper-parameter is shown as it was written, a measured number in a few digits. */
function shortNumber(value: number): string {
  const exact = String(value);
  return exact.length <= 10 ? exact : number(value);
}
