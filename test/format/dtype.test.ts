import { describe, expect, test } from 'vitest';
import { MisconfigurationError } from '../../src/errors.ts';
import {
  arrayOf,
  bytesPerElement,
  compareAlignment,
  type DType,
  dtypeOf,
  isDType,
  tensorSizeBytes,
} from '../../src/format/dtype.ts';

const DTYPES: readonly (readonly [DType, number, string])[] = [
  ['U64', 8, 'BigUint64Array'],
  ['I64', 8, 'BigInt64Array'],
  ['F64', 8, 'Float64Array'],
  ['C64', 8, 'Float32Array'],
  ['F32', 4, 'Float32Array'],
  ['U32', 4, 'Uint32Array'],
  ['I32', 4, 'Int32Array'],
  ['BF16', 2, 'Uint16Array'],
  ['F16', 2, 'Uint16Array'],
  ['U16', 2, 'Uint16Array'],
  ['I16', 2, 'Int16Array'],
  ['F8_E4M3', 1, 'Uint8Array'],
  ['F8_E5M2', 1, 'Uint8Array'],
  ['I8', 1, 'Int8Array'],
  ['U8', 1, 'Uint8Array'],
  ['BOOL', 1, 'Uint8Array'],
];

test.each(DTYPES)('%s takes %i bytes and is read as a %s', (dtype, bytes, array) => {
  expect(isDType(dtype)).toBe(true);
  expect(bytesPerElement(dtype)).toBe(bytes);
  expect(arrayOf(dtype, new Uint8Array(16)).constructor.name).toBe(array);
  expect(arrayOf(dtype, new Uint8Array(16))).toHaveLength((dtype === 'C64' ? 32 : 16) / bytes);
});

test('dtypes sort into the order of the reference', () => {
  const sorted = DTYPES.map(([dtype]) => dtype)
    .sort()
    .sort(compareAlignment);
  expect(sorted).toEqual(DTYPES.map(([dtype]) => dtype));
});

test.each(['f32', 'F8_E8M0', '', 'constructor', '__proto__'])('%j is no dtype', (name) => {
  expect(isDType(name)).toBe(false);
});

describe('arrayOf', () => {
  test('is a view where the bytes are aligned, and a copy where they are not', () => {
    const buffer = new ArrayBuffer(13);
    const aligned = arrayOf('F32', new Uint8Array(buffer, 4, 8));
    expect(aligned.buffer).toBe(buffer);
    new Float32Array(buffer, 4, 1).set([1.5]);
    expect([...aligned]).toEqual([1.5, 0]);
    const misaligned = arrayOf('F32', new Uint8Array(buffer, 5, 8));
    expect(misaligned.buffer).not.toBe(buffer);
    expect(misaligned).toHaveLength(2);
  });

  test('refuses a part of an element', () => {
    expect(() => arrayOf('F32', new Uint8Array(6))).toThrow(MisconfigurationError);
  });
});

describe('dtypeOf', () => {
  test.each([
    [new Float32Array(), 'F32'],
    [new Float64Array(), 'F64'],
    [new Uint16Array(), 'U16'],
    [new Uint8ClampedArray(), 'U8'],
    [new BigInt64Array(), 'I64'],
    [Buffer.alloc(1), 'U8'],
  ] as const)('names the natural dtype of %o: %s', (array, dtype) => {
    expect(dtypeOf(array)).toBe(dtype);
  });

  test('refuses what is not a typed array', () => {
    expect(() => dtypeOf(new DataView(new ArrayBuffer(8)))).toThrow('DataView');
  });
});

test.each([
  ['F32', [], 4],
  ['F32', [2, 3], 24],
  ['F64', [0], 0],
  ['U8', [0, 2 ** 53 - 1, 2 ** 53 - 1], 0],
  ['U8', [2 ** 53 - 1], 2 ** 53 - 1],
  ['U16', [2 ** 53 - 1], undefined],
  ['U8', [2 ** 27, 2 ** 27], undefined],
  ['U8', [2 ** 27, 2 ** 27, 0], undefined],
  ['U8', [-1], undefined],
  ['U8', [1.5], undefined],
  ['U8', [Number.NaN], undefined],
  ['U8', [2 ** 53], undefined],
] as const)('a %s of shape %o takes %s bytes', (dtype, shape, bytes) => {
  expect(tensorSizeBytes(dtype, shape)).toBe(bytes);
});
