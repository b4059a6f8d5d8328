import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { DType } from '../../src/format/dtype.ts';
import { floatBytes, isFloat, numbersOf } from '../../src/format/numbers.ts';

const bits16 = (...bits: number[]): Uint8Array => new Uint8Array(Uint16Array.from(bits).buffer);
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);

it.each<[DType, Uint8Array, number[]]>([
  ['F16', bits16(0x3c00, 0xc000, 0x7bff, 0x0400, 0x0001), [1, -2, 65504, 2 ** -14, 2 ** -24]],
  ['F16', bits16(0x7c00, 0xfc00, 0x7e00, 0x8000), [Infinity, -Infinity, NaN, -0]],
  ['BF16', bits16(0x3f80, 0xc000, 0x4049, 0x7f80), [1, -2, 3.140625, Infinity]],
  ['F8_E4M3', bytes(0x38, 0x7e, 0x7f, 0x01, 0xb8), [1, 448, NaN, 2 ** -9, -1]],
  ['F8_E5M2', bytes(0x3c, 0x7b, 0x7c, 0x7e, 0x01), [1, 57344, Infinity, NaN, 2 ** -16]],
  ['BOOL', bytes(0, 1), [0, 1]],
  ['I8', bytes(255), [-1]],
  ['I64', new Uint8Array(BigInt64Array.of(-5n).buffer), [-5]],
  ['U64', new Uint8Array(BigUint64Array.of(2n ** 60n).buffer), [2 ** 60]],
])('reads %s', (dtype, given, expected) => {
  expect([...Array.from(numbersOf(dtype, given))]).toEqual(expected);
});

it.each<[DType, number[], number[]]>([
  ['F16', [1, 65504, 65519, 65520, -1e9], [0x3c00, 0x7bff, 0x7bff, 0x7c00, 0xfc00]],
  // Ties go to the even neighbour, also below the smallest normal number and at its edge.
  ['F16', [1 + 2 ** -11, 1 + 3 * 2 ** -11, 2 ** -25, 3 * 2 ** -25], [0x3c00, 0x3c02, 0, 2]],
  ['F16', [2 ** -14 - 2 ** -26, -0, NaN], [0x0400, 0x8000, 0x7e00]],
  [
    'BF16',
    [1, 3.140625, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1e39],
    [0x3f80, 0x4049, 0x3f80, 0x3f82, 0x7f80],
  ],
])('writes %s rounded once: %j', (dtype, values, expected) => {
  expect(floatBytes(dtype, Float64Array.from(values))).toEqual(bits16(...expected));
});

it.each<DType>(['F16', 'BF16'])('gives back all %s numbers', (dtype) => {
  const all = bits16(...Array.from({ length: 65_536 }, (_, i) => i));
  const values = Float64Array.from(numbersOf(dtype, all));
  const back = numbersOf(dtype, floatBytes(dtype, values) as Uint8Array);
  expect(Array.from(back).every((value, i) => Object.is(value, values[i]))).toBe(true);
});

it('rounds to the nearest: no other number of the format is closer', () => {
  const all = Array.from(numbersOf('F16', bits16(...Array.from({ length: 0x7c00 }, (_, i) => i))));
  fc.assert(
    fc.property(fc.double({ min: 0, max: 65_504, noNaN: true }), (value) => {
      const [near = Number.NaN] = Array.from(
        numbersOf('F16', floatBytes('F16', Float64Array.of(value)) as Uint8Array),
      );
      const at = all.indexOf(near);
      for (const neighbour of [all[at - 1], all[at + 1]]) {
        if (neighbour !== undefined) {
          expect(Math.abs(near - value)).toBeLessThanOrEqual(Math.abs(neighbour - value));
        }
      }
    }),
  );
});

it('writes no dtype that is no float, nor the float without infinity', () => {
  expect(['I32', 'BOOL', 'U64'].map((dtype) => isFloat(dtype as DType))).toEqual([
    false,
    false,
    false,
  ]);
  expect(floatBytes('I32', Float64Array.of(1))).toBeUndefined();
  expect(floatBytes('F8_E4M3', Float64Array.of(1))).toBeUndefined();
  expect(floatBytes('F8_E5M2', Float64Array.of(1))).toEqual(bytes(0x3c));
});
