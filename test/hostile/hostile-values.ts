import { type JsonObject, type JsonValue, TensorRef } from '../../src/format/json.ts';

/** Where something is in a document. */
export type Path = readonly (string | number)[];

/** What a hostile writer may put anywhere; `undefined` takes the member away. */
export const HOSTILE: readonly (JsonValue | undefined)[] = [
  undefined,
  null,
  true,
  false,
  '',
  'x',
  '__proto__',
  'constructor',
  '../secret.ckpt',
  '/etc/passwd',
  '\0',
  'last.ckpt',
  -1,
  0,
  0.5,
  7,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  1e300,
  2 ** 53,
  [],
  [null],
  [[]],
  ['a', 'b'],
  [1, 2],
  {},
  { constructor: { prototype: { polluted: 1 } } },
  { length: 2 ** 32, toString: 1, valueOf: 'x' },
  new TensorRef('0'),
];

/** Every place in a document, its own root left out. */
export function* pathsIn(value: JsonValue | undefined, path: Path = []): Generator<Path> {
  if (path.length > 0) yield path;
  if (typeof value !== 'object' || value === null || value instanceof TensorRef) return;
  for (const [key, inner] of Object.entries(value)) {
    yield* pathsIn(inner, [...path, Array.isArray(value) ? Number(key) : key]);
  }
}

/** The document with another value in one place. */
export function replaceAt(
  document: JsonObject,
  path: Path,
  value: JsonValue | undefined,
): JsonObject {
  return replace(document, path, value) as JsonObject;
}

function replace(
  within: JsonValue | undefined,
  path: Path,
  value: JsonValue | undefined,
): JsonValue | undefined {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (Array.isArray(within)) {
    const items = [...within];
    const inner = replace(items[Number(key)], rest, value);
    if (inner === undefined) items.splice(Number(key), 1);
    else items[Number(key)] = inner;
    return items;
  }
  const { [key]: old, ...others } = within as JsonObject;
  const inner = replace(old, rest, value);
  return inner === undefined ? others : { ...others, [key]: inner };
}
