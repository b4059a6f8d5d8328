import { MisconfigurationError } from '../errors.ts';
import { quote } from '../format/json-scanner.ts';
import type { TensorSpec } from '../format/tensor-layout.ts';
import type { OptionNames } from '../option-check.ts';

/**
 * How the weights of one library become those of another. Nothing is guessed: a weight that no rule names keeps
 * its name and layout.
 *
 * Keys are names of weights as they are before the conversion; a `*` in them stands for any text. Of the keys
 * of one table that fit a name the first counts.
 */
export interface Conversion {
  /**
   * New names. Each `*` of the new name is what the `*` of the key in the same place stood for:
   * `{'fc*.weight': 'fc*.kernel'}`.
   */
  readonly rename?: Readonly<Record<string, string>>;
  /**
   * New orders of dimensions, as a letter for each before and after: `'OI->IO'` transposes a dense kernel,
   * `'OIHW->HWIO'` makes PyTorch's convolution kernel one of TensorFlow, `'HWIO->OIHW'` goes back.
   */
  readonly axes?: Readonly<Record<string, string>>;
  /** Weights to leave out: `['*.num_batches_tracked']`. */
  readonly drop?: readonly string[];
}

export const CONVERSION_NAMES: OptionNames<Conversion> = {
  rename: true,
  axes: true,
  drop: true,
};

/** A weight after a conversion. */
export interface Converted {
  readonly name: string;
  /** Which of the weights before it is. */
  readonly index: number;
  /** For each dimension, which one of the weight before it is; undefined when all stay in their places. */
  readonly axes: readonly number[] | undefined;
}

/**
 * What a conversion makes of weights, in the order given. Pure: no byte is read.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for a key that fits no weight, a new name with more `*`
 * than its key, two weights that come to share a name, and axes that are not the same letters in another
 * order, or not as many as the weight has dimensions.
 */
export function planConversion(
  weights: readonly Pick<TensorSpec, 'name' | 'shape'>[],
  conversion: Conversion,
): readonly Converted[] {
  const { rename = {}, axes = {}, drop = [] } = conversion;
  const names = weights.map(({ name }) => name);
  const drops = tableOf('drop', Object.fromEntries(drop.map((key) => [key, ''])), names);
  const renames = tableOf('rename', rename, names);
  const orders = tableOf('axes', axes, names);
  const converted: Converted[] = [];
  for (const [index, { name, shape }] of weights.entries()) {
    if (drops.find(name) !== undefined) continue;
    const letters = orders.find(name)?.value;
    converted.push({
      name: renames.find(name)?.filled() ?? name,
      index,
      axes: letters === undefined ? undefined : axesFor(name, shape, letters),
    });
  }
  refuseSharedNames(converted);
  return converted;
}

/** What a table says of a name. */
interface Found {
  readonly value: string;
  /** The value with each `*` filled in. */
  filled(): string;
}

function tableOf(
  what: string,
  table: Readonly<Record<string, string>>,
  names: readonly string[],
): { find(name: string): Found | undefined } {
  const rules = Object.entries(table).map(([key, value]) => ({ key, value, ...patternOf(key) }));
  for (const { key, matches } of rules) {
    if (names.some((name) => matches(name) !== undefined)) continue;
    throw new MisconfigurationError(
      `${what}: no weight is named ${quote(key)}. There are ${listOf(names)}.`,
      { details: { what, key, names } },
    );
  }
  return {
    find(name) {
      for (const { key, value, matches } of rules) {
        const stars = matches(name);
        if (stars !== undefined) return { value, filled: () => fill(key, value, stars) };
      }
      return undefined;
    },
  };
}

/** What each `*` stands for, when a name fits. */
function patternOf(key: string): { matches(name: string): readonly string[] | undefined } {
  if (!key.includes('*')) return { matches: (name) => (name === key ? [] : undefined) };
  const literal = key.split('*').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  const pattern = new RegExp(`^${literal.join('(.*)')}$`, 's');
  return { matches: (name) => pattern.exec(name)?.slice(1) };
}

function fill(key: string, value: string, stars: readonly string[]): string {
  const parts = value.split('*');
  if (parts.length - 1 > stars.length) {
    throw new MisconfigurationError(
      `rename: ${quote(value)} has more '*' than ${quote(key)}, so there is nothing to put there.`,
      { details: { key, value } },
    );
  }
  return parts.map((part, i) => part + (i < parts.length - 1 ? (stars[i] as string) : '')).join('');
}

function axesFor(name: string, shape: readonly number[], layout: string): readonly number[] {
  const axes = axesOf(layout);
  if (axes.length === shape.length) return axes;
  throw new MisconfigurationError(
    `axes: ${quote(layout)} is for ${axes.length} dimensions, and the weight ${quote(name)} has ` +
      `${shape.length}: [${shape.join(', ')}].`,
    { details: { name, layout, shape } },
  );
}

/** For each new dimension, which old one it is. */
function axesOf(layout: string): readonly number[] {
  const [, from = '', to = ''] = /^([A-Za-z]+)->([A-Za-z]+)$/.exec(layout) ?? [];
  const isPermutation =
    from !== '' &&
    new Set(from).size === from.length &&
    [...from].sort().join('') === [...to].sort().join('');
  if (isPermutation) return [...to].map((letter) => from.indexOf(letter));
  throw new MisconfigurationError(
    `axes: ${quote(layout)} must be a letter for each dimension, before and after, as in 'OI->IO' or ` +
      `'OIHW->HWIO': the same letters, each once.`,
    { details: { layout } },
  );
}

function refuseSharedNames(weights: readonly Converted[]): void {
  const names = new Set<string>();
  for (const { name } of weights) {
    if (names.has(name)) {
      throw new MisconfigurationError(`rename: two weights come to be named ${quote(name)}.`, {
        details: { name },
      });
    }
    names.add(name);
  }
}

function listOf(names: readonly string[]): string {
  const shown = names.slice(0, 20).map((name) => quote(name));
  const more = names.length > 20 ? ` and ${names.length - 20} more` : '';
  return names.length === 0 ? 'none' : shown.join(', ') + more;
}
