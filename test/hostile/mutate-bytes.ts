import fc from 'fast-check';
import { fileWithHeader } from '../format/checkpoint-bytes.ts';

/** Numbers at which lengths, offsets and counts go wrong. */
const EDGES: readonly string[] = [
  '0',
  '1',
  '7',
  '8',
  '2147483647',
  '4294967295',
  '9007199254740992',
  '9223372036854775808',
  '18446744073709551615',
];

/** What a hostile header may say in the place of a number, a name or a whole member. */
const WORDS: readonly string[] = [
  '-1',
  '1e999',
  '9007199254740993',
  '4294967296',
  '0.5',
  'null',
  '""',
  '"__proto__"',
  '"F64"',
  '[',
  ']',
  '{',
  '}',
  '[[[[',
  '{"a":',
  '"\\u0000"',
  '"\\ud800"',
  '[4294967296,4294967296]',
  '[0,18446744073709551615]',
];

/** One way to damage a file. */
export type Damage =
  | { readonly kind: 'cut'; readonly at: number }
  | { readonly kind: 'flip'; readonly at: number; readonly bit: number }
  | { readonly kind: 'overwrite'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'insert'; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'repeat'; readonly at: number; readonly length: number }
  | { readonly kind: 'header length'; readonly length: string }
  | { readonly kind: 'word'; readonly at: number; readonly word: string };

/** Any damage. Places are fractions of the file, so that it suits files of every size. */
export const anyDamage: fc.Arbitrary<Damage> = (() => {
  const at = fc.nat(999_999).map((millionths) => millionths / 1e6);
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 64 });
  return fc.oneof(
    fc.record({ kind: fc.constant('cut' as const), at }),
    fc.record({ kind: fc.constant('flip' as const), at, bit: fc.nat(7) }),
    fc.record({ kind: fc.constant('overwrite' as const), at, bytes }),
    fc.record({ kind: fc.constant('insert' as const), at, bytes }),
    fc.record({
      kind: fc.constant('repeat' as const),
      at,
      length: fc.integer({ min: 1, max: 4096 }),
    }),
    fc.record({ kind: fc.constant('header length' as const), length: fc.constantFrom(...EDGES) }),
    fc.record({ kind: fc.constant('word' as const), at, word: fc.constantFrom(...WORDS) }),
  );
})();

/** The damaged file. A damaged word leaves the length of the header right, as a hostile writer would. */
export function damaged(file: Uint8Array, damage: Damage): Uint8Array {
  const place = 'at' in damage ? Math.floor(damage.at * file.length) : 0;
  const result = Buffer.from(file);
  switch (damage.kind) {
    case 'cut':
      return result.subarray(0, place);
    case 'flip':
      result[place] = (result[place] ?? 0) ^ (1 << damage.bit);
      return result;
    case 'overwrite':
      result.set(damage.bytes.subarray(0, file.length - place), place);
      return result;
    case 'insert':
      return Buffer.concat([result.subarray(0, place), damage.bytes, result.subarray(place)]);
    case 'repeat': {
      const again = result.subarray(place, place + damage.length);
      return Buffer.concat([result.subarray(0, place), again, result.subarray(place)]);
    }
    case 'header length':
      if (result.length < 8) return result;
      result.writeBigUInt64LE(BigInt(damage.length));
      return result;
    case 'word': {
      if (result.length < 8) return result;
      const headerBytes = Number(result.readBigUInt64LE());
      const header = result.toString('latin1', 8, 8 + headerBytes);
      // Whole values are replaced, so that what is left is often well-formed.
      const values = [...header.matchAll(/\\?"(?:[^"\\]|\\(?!"))*\\?"|-?\d+|\[|\]/g)];
      const value = values[Math.floor(damage.at * values.length)];
      if (value === undefined) return result.subarray(0, 4);
      const after = value.index + value[0].length;
      const text = header.slice(0, value.index) + damage.word + header.slice(after);
      const data = result.subarray(8 + headerBytes);
      return Buffer.concat([fileWithHeader(Buffer.from(text, 'latin1')), data]);
    }
  }
}
