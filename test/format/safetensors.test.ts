import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointFileError, MisconfigurationError } from '../../src/errors.ts';
import { bytesPerElement, type DType } from '../../src/format/dtype.ts';
import { decodeHeader, encodeHeader, headerSizeBytes } from '../../src/format/safetensors.ts';
import { layOut, type TensorSpec } from '../../src/format/tensor-layout.ts';
import { fileWithHeader } from './checkpoint-bytes.ts';
import { refusal } from './refusal.ts';

const anyTensors = fc.uniqueArray(
  fc.record<TensorSpec>({
    name: fc.string({ unit: 'binary', maxLength: 8 }),
    dtype: fc.constantFrom<DType>('U64', 'F64', 'F32', 'I32', 'BF16', 'I16', 'U8', 'BOOL'),
    shape: fc.array(fc.nat(5), { maxLength: 3 }),
  }),
  { selector: ({ name }) => name, maxLength: 12 },
);

function textOf(header: Uint8Array): string {
  return new TextDecoder().decode(header.subarray(8));
}

describe('encodeHeader', () => {
  // The expected texts are those of the reference implementation's own tests.
  test.each([
    ['nothing', [], {}, '{}      '],
    ['metadata only', [], { framework: 'pt' }, '{"__metadata__":{"framework":"pt"}}     '],
    [
      'a tensor',
      [{ name: 'attn.0', dtype: 'F32', shape: [1, 2, 3] }],
      {},
      '{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}',
    ],
    [
      'a tensor, padded',
      [{ name: 'attn0', dtype: 'F32', shape: [1, 1, 2, 3] }],
      {},
      '{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       ',
    ],
  ] as const)('writes %s as the reference does', (_, tensors, metadata, expected) => {
    const header = encodeHeader(tensors, metadata);
    expect(textOf(header)).toBe(expected);
    expect(new DataView(header.buffer).getBigUint64(0, true)).toBe(BigInt(expected.length));
  });

  test('orders data by falling alignment, then by name', () => {
    const of = (name: string, dtype: DType): TensorSpec => ({ name, dtype, shape: [1] });
    const tensors = [
      of('b', 'F32'),
      of('c', 'BOOL'),
      of('a', 'F32'),
      of('z', 'I64'),
      of('y', 'F64'),
    ];
    const header = encodeHeader(tensors, {});
    const decoded = decodeHeader(header, header.length + 25);
    expect(decoded.tensors.map(({ name }) => name)).toEqual(['z', 'y', 'a', 'b', 'c']);
  });

  test.each([
    ['a name that is there twice', [{ name: 'a' }, { name: 'a' }], '"a" is there twice'],
    ['the name __metadata__', [{ name: '__metadata__' }], 'reserved'],
    ['the name __proto__', [{ name: '__proto__' }], 'reserved'],
    ['half a surrogate pair', [{ name: 'a\ud800' }], 'not valid Unicode'],
    ['an unknown dtype', [{ name: 'a', dtype: 'F4' as DType }], 'cannot be F4'],
    ['a negative dimension', [{ name: 'a', shape: [-1] }], 'of shape [-1]'],
    ['a fraction', [{ name: 'a', shape: [1.5] }], 'of shape [1.5]'],
    ['more than can be counted', [{ name: 'a', shape: [2 ** 30, 2 ** 30] }], 'of shape'],
    [
      'more than can be counted together',
      [
        { name: 'a', shape: [2 ** 51 - 1] },
        { name: 'b', shape: [2 ** 50] },
      ],
      '"b" cannot be F32',
    ],
  ] as const)('refuses %s', (_, tensors, message) => {
    const specs = tensors.map((t) => ({ dtype: 'F32' as DType, shape: [], ...t }));
    expect(() => encodeHeader(specs, {})).toThrow(MisconfigurationError);
    expect(() => encodeHeader(specs, {})).toThrow(message);
  });

  test('refuses the metadata key __proto__', () => {
    const metadata = JSON.parse('{"__proto__":"x"}') as Record<string, string>;
    expect(() => encodeHeader([], metadata)).toThrow('"__proto__"');
  });

  test('refuses more than the reference would read', () => {
    expect(() => encodeHeader([], { big: 'x'.repeat(100_000_000) })).toThrow('100000000');
  });
});

describe('a header', () => {
  test('comes back, every tensor aligned, packed, and in the order of layOut', () => {
    fc.assert(
      fc.property(
        anyTensors,
        fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
        (tensors, metadata) => {
          fc.pre(!Object.hasOwn(metadata, '__proto__'));
          const header = encodeHeader(tensors, metadata);
          const { order, dataBytes } = layOut(tensors);
          const decoded = decodeHeader(header, header.length + dataBytes);
          expect(decoded.headerBytes).toBe(header.length);
          expect(header.length % 8).toBe(0);
          let offset = header.length;
          expect(decoded.tensors).toEqual(
            order.map((index) => expect.objectContaining({ ...tensors[index] })),
          );
          for (const tensor of decoded.tensors) {
            expect(tensor.offset).toBe(offset);
            expect(offset % bytesPerElement(tensor.dtype)).toBe(0);
            offset += tensor.sizeBytes;
            const at = decoded.byteAt(tensor.position);
            const spelt = new TextEncoder().encode(JSON.stringify(tensor.name));
            expect(header.subarray(at, at + spelt.length)).toEqual(spelt);
          }
          expect(offset).toBe(header.length + dataBytes);
          const values = [...decoded.metadata].map(([key, { value }]) => [key, value]);
          expect(Object.fromEntries(values)).toEqual({ ...metadata });
        },
      ),
    );
  });

  test('does not depend on the order of the tensors', () => {
    fc.assert(
      fc.property(anyTensors, (tensors) => {
        expect(encodeHeader([...tensors].reverse(), {})).toEqual(encodeHeader(tensors, {}));
      }),
    );
  });

  test('is read in any order of keys, with any white space', () => {
    const header =
      ' {"b":{"data_offsets":[ 4, 8 ],"shape":[],"dtype":"I32"} ,' +
      '"e":{"shape":[0],"dtype":"F64","data_offsets":[4,4]},\n' +
      '"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}, "__metadata__" : { "k" : "v" } }\t';
    const file = fileWithHeader(header, 8);
    const { tensors, metadata } = decodeHeader(file, file.length);
    expect(tensors.map(({ name }) => name)).toEqual(['a', 'e', 'b']);
    expect(metadata.get('k')?.value).toBe('v');
  });
});

describe('headerSizeBytes', () => {
  const start = (length: bigint): Uint8Array => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, length, true);
    return bytes;
  };

  test('counts the length itself', () => {
    expect(headerSizeBytes(start(40n), 48)).toBe(48);
    expect(headerSizeBytes(start(100_000_000n), 100_000_008)).toBe(100_000_008);
  });

  test.each([
    [start(100_000_001n), 2 ** 40, 0],
    [start(2n ** 63n), 2 ** 40, 0],
    [start(2n ** 64n - 1n), 2 ** 40, 0],
    [start(41n), 48, 48],
    [new Uint8Array(7), 7, 7],
    [new Uint8Array(0), 0, 0],
  ])('refuses %o of a file of %i bytes at byte %i', (bytes, fileSizeBytes, byteOffset) => {
    const error = refusal(() => headerSizeBytes(bytes, fileSizeBytes));
    expect(error).toMatchObject({ code: 'CHECKPOINT_INVALID', byteOffset });
  });

  test.each([
    ['a zip archive', 'PK\x03\x04\0\0\b\b'],
    ['a pickle', '\x80\x02\x8a\nl\xfc\x9cF'],
    ['an HDF5 file', '\x89HDF\r\n\x1a\n'],
  ])('knows %s for a file of another format, not a damaged one', (what, text) => {
    const error = refusal(() => headerSizeBytes(Buffer.from(text, 'latin1'), 10_000));
    expect(error).toMatchObject({ code: 'CHECKPOINT_FOREIGN', byteOffset: 0 });
    expect(error.message).toContain(`this is ${what}`);
  });
});

/** The members of a tensor, as they stand in a header. */
function members(dtype = '"F32"', shape = '[1]', offsets = '[0,4]'): string {
  return `"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}`;
}

/** Rows: what is wrong, a header with `^` before its first wrong byte, bytes of data, the message. */
const HOSTILE: readonly (readonly [string, string, number, string])[] = [
  ['nothing at all', '^', 0, 'found the end'],
  ['no JSON', '^hello', 0, 'a header, which begins with {'],
  ['an array', '^[]', 0, 'a header, which begins with {'],
  ['a JSON that is cut', '{"a":{"dtype":"F32"^', 0, 'found the end'],
  ['a second value', '{}^{}', 0, 'nothing more'],
  ['a byte order mark', '^\ufeff{}', 0, 'a header'],
  ['a NUL as padding', '{}^\0\0', 0, 'nothing more'],
  ['deep nesting', `{"a":^${'['.repeat(1e6)}`, 0, 'a tensor, which begins with {'],
  ['deep nesting in a shape', `{"a":{"shape":[^${'['.repeat(1e6)}`, 0, 'whole number'],
  ['deep nesting in an unknown key', `{"a":{^"x":${'{"x":'.repeat(1e6)}`, 0, 'no "x"'],
  ['metadata that are no object', '{"__metadata__":^"x"}', 0, 'object of strings'],
  ['metadata with a number', '{"__metadata__":{"a":^1}}', 0, 'expected a string'],
  ['metadata with null', '{"__metadata__":{"a":^null}}', 0, 'expected a string'],
  ['metadata with deep nesting', `{"__metadata__":{"a":^${'['.repeat(1e6)}`, 0, 'a string'],
  ['metadata twice', '{"__metadata__":{},^"__metadata__":{}}', 0, 'stands twice'],
  ['a metadata key twice', '{"__metadata__":{"k":"",^"\\u006b":""}}', 0, 'stands twice'],
  ['__proto__ in the metadata', '{"__metadata__":{^"__proto__":"x"}}', 0, '"__proto__"'],
  ['__proto__ as a tensor', '{^"__proto__":{}}', 0, '"__proto__"'],
  ['__proto__ escaped', '{^"\\u005f_proto__":{}}', 0, '"__proto__"'],
  ['__proto__ in a tensor', '{"a":{^"__proto__":1}}', 0, '"__proto__"'],
  ['half a surrogate pair', '{^"\\ud800":{}}', 0, 'not valid Unicode'],
  ['a tensor twice', `{"a":{${members()}},^"a":{${members()}}}`, 4, 'stands twice'],
  ['a tensor that is a number', '{"a":^1}', 0, 'a tensor, which begins with {'],
  ['an empty tensor', '{^"a":{}}', 0, 'has no dtype'],
  ['no shape', '{^"a":{"dtype":"F32","data_offsets":[0,4]}}', 4, 'has no shape'],
  ['no offsets', '{^"a":{"dtype":"F32","shape":[1]}}', 4, 'has no data_offsets'],
  ['an unknown key', `{"a":{${members()},^"strides":[1]}}`, 4, 'has no "strides"'],
  ['a key twice', '{"a":{"dtype":"F32",^"dtype":"F32"}}', 0, 'stands twice'],
  ['an unknown dtype', `{"a":{${members('^"F33"')}}}`, 4, 'the dtype "F33" is not known'],
  ['a dtype that is a number', `{"a":{${members('^7')}}}`, 4, 'expected a dtype'],
  ['a dtype out of the prototype', `{"a":{${members('^"toString"')}}}`, 4, 'not known'],
  ['a shape that is a number', `{"a":{${members('"F32"', '^1')}}}`, 4, 'an array of numbers'],
  ['a negative dimension', `{"a":{${members('"F32"', '[^-1]')}}}`, 4, 'whole number'],
  ['minus zero', `{"a":{${members('"F32"', '[^-0]')}}}`, 0, 'whole number'],
  ['a fraction', `{"a":{${members('"F32"', '[1^.5]')}}}`, 4, "',' or ']'"],
  ['an exponent', `{"a":{${members('"F32"', '[1^e2]')}}}`, 4, "',' or ']'"],
  ['a leading zero', `{"a":{${members('"F32"', '[0^1]')}}}`, 4, "',' or ']'"],
  ['a string in the shape', `{"a":{${members('"F32"', '[^"1"]')}}}`, 4, 'whole number'],
  ['a dimension of 2 ** 53', `{"a":{${members('"U8"', `[^${2 ** 53}]`)}}}`, 4, 'too large'],
  ['a million digits', `{"a":{${members('"U8"', `[^${'9'.repeat(1e6)}]`)}}}`, 4, 'too large'],
  [
    'a shape that overflows',
    `{^"a":{${members('"U8"', '[4294967296,4294967296]')}}}`,
    4,
    'too large',
  ],
  ['one times zero', `{^"a":{${members('"U8"', '[4294967296,4294967296,0]')}}}`, 0, 'too large'],
  ['a size that overflows', `{^"a":{${members('"F64"', `[${2 ** 52}]`)}}}`, 4, 'too large'],
  ['one offset', `{^"a":{${members('"F32"', '[1]', '[0]')}}}`, 4, 'two data_offsets'],
  ['three offsets', `{"a":{${members('"F32"', '[1]', '[0,4,^9]')}}}`, 4, 'more than two'],
  ['offsets too near', `{"a":{${members('"F32"', '[1]', '[0,^3]')}}}`, 4, '4 bytes by dtype'],
  ['offsets that run back', `{"a":{${members('"F32"', '[1]', '[4,^0]')}}}`, 4, '4 bytes by dtype'],
  ['a negative offset', `{"a":{${members('"F32"', '[1]', '[^-4,0]')}}}`, 4, 'whole number'],
  [
    'an offset of 2 ** 64',
    `{"a":{${members('"F32"', '[1]', `[^${2n ** 64n},0]`)}}}`,
    4,
    'too large',
  ],
  ['a hole at the start', `{"a":{${members('"F32"', '[1]', '[ ^4, 8 ]')}}}`, 8, 'after a hole'],
  [
    'a hole',
    `{"a":{${members()}},"b":{${members('"F32"', '[1]', '[^8,12]')}}}`,
    12,
    '"b" comes after a hole: it begins at 8, not 4',
  ],
  [
    'an overlap, whatever the order in the header',
    `{"b":{${members('"F32"', '[1]', '[^2,6]')}},"a":{${members()}}}`,
    8,
    '"b" overlaps another: it begins at 2, not 4',
  ],
  [
    'one range for two tensors',
    `{"a":{${members()}},"b":{${members('"F32"', '[1]', '[^0,4]')}}}`,
    4,
    'overlaps another',
  ],
  [
    'a range far away',
    `{"a":{${members()}},"b":{${members('"F32"', '[1]', `[^${2 ** 52},${2 ** 52 + 4}]`)}}}`,
    8,
    'after a hole',
  ],
  ['characters of several bytes before', '{"é€😀":{"dtype":^"F33"}}', 0, 'the dtype "F33"'],
];

describe('decodeHeader refuses', () => {
  test.each(HOSTILE)('%s', (_, marked, dataBytes, message) => {
    const file = fileWithHeader(marked.replace('^', ''), dataBytes);
    const error = refusal(() => decodeHeader(file, file.length));
    expect(error.message).toContain(message);
    expect(error.message.length).toBeLessThan(500);
    const before = marked.slice(0, marked.indexOf('^'));
    expect(error).toMatchObject({
      code: 'CHECKPOINT_INVALID',
      byteOffset: 8 + new TextEncoder().encode(before).length,
    });
  });

  test.each([
    ['no data', 0, 'cut short', 0],
    ['a byte too few', 3, 'cut short', 3],
    ['a byte too many', 5, 'goes on after its last tensor', 4],
    ['a great deal too many', 5000, 'goes on after its last tensor', 4],
  ])('%s', (_, dataBytes, message, wrong) => {
    const file = fileWithHeader(`{"a":{${members()}}}`, dataBytes);
    const error = refusal(() => decodeHeader(file, file.length));
    expect(error.message).toContain(message);
    expect(error.byteOffset).toBe(file.length - dataBytes + wrong);
  });

  test.each([
    [[0x7b, 0x22, 0xff, 0x22], 2],
    [[0x7b, 0x22, 0xc3, 0x22], 2],
    [[0x7b, 0x22, 0xc0, 0x80], 2],
    [[0x7b, 0x22, 0xed, 0xa0, 0x80], 2],
    [[0x7b, 0x22, 0xef, 0xbf], 4],
  ])('bytes that are not UTF-8: %o', (bytes, index) => {
    const file = fileWithHeader(Uint8Array.from(bytes));
    const error = refusal(() => decodeHeader(file, file.length));
    expect(error.message).toContain('not valid UTF-8');
    expect(error.byteOffset).toBe(8 + index);
  });

  test('a header of which not all was given', () => {
    const header = encodeHeader([], { a: 'b' });
    const error = refusal(() => decodeHeader(header.subarray(0, 20), header.length));
    expect(error.byteOffset).toBe(20);
  });

  test('anything in a damaged header that would not describe the file', () => {
    const specs: TensorSpec[] = [
      { name: 'é', dtype: 'F32', shape: [2] },
      { name: 'b', dtype: 'U8', shape: [] },
    ];
    const header = encodeHeader(specs, { k: 'v' });
    const size = header.length + 9;
    fc.assert(
      fc.property(fc.nat(header.length - 1), fc.nat(255), (at, byte) => {
        const damaged = header.slice();
        damaged[at] = byte;
        try {
          const { tensors, headerBytes } = decodeHeader(damaged, size);
          const total = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, headerBytes);
          expect(total).toBe(size);
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointFileError);
          expect((error as CheckpointFileError).byteOffset).toBeTypeOf('number');
        }
      }),
      { numRuns: 2000 },
    );
  });
});
