import { crc32 as zlibCrc32 } from 'node:zlib';
import { crc32 as packageCrc32 } from '@node-rs/crc32';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { crc32 } from '../../src/format/crc32.ts';

describe('crc32', () => {
  test.each([
    ['', 0],
    ['a', 0xe8b7be43],
    ['123456789', 0xcbf43926],
    ['The quick brown fox jumps over the lazy dog', 0x414fa339],
  ])('of %j is the published value', (text, expected) => {
    expect(crc32(new TextEncoder().encode(text))).toBe(expected);
  });

  test("agrees with Node's and with the package's, also when continued from a seed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array(), (before, bytes) => {
        const seed = crc32(before);
        for (const native of [zlibCrc32, packageCrc32]) {
          expect(native(before)).toBe(seed);
          expect(native(bytes, seed)).toBe(crc32(bytes, seed));
        }
      }),
    );
  });

  test('of two parts in turn is that of the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, at) => {
        expect(crc32(bytes.subarray(at), crc32(bytes.subarray(0, at)))).toBe(crc32(bytes));
      }),
    );
  });
});
