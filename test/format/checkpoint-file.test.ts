import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MisconfigurationError } from '../../src/errors.ts';
import {
  type CheckpointTensor,
  planFile,
  readIndex,
  type TensorGroup,
} from '../../src/format/checkpoint-file.ts';
import { crc32 } from '../../src/format/crc32.ts';
import type { DType } from '../../src/format/dtype.ts';
import { type JsonObject, TensorRef } from '../../src/format/json.ts';
import { encodeHeader } from '../../src/format/safetensors.ts';
import {
  bytesOf,
  fileWithHeader,
  readCheckpoint,
  type TensorWithBytes,
  writeCheckpoint,
} from './checkpoint-bytes.ts';
import { refusal } from './refusal.ts';

const DOCUMENT: JsonObject = {
  version: '0.1.0',
  epoch: 3,
  globalStep: 1200,
  best: Number.NaN,
  worst: -Infinity,
  '$odd "key"': 'é€😀\ud800\n',
  user: { ema: [new TensorRef('0')] },
};

const TENSORS: readonly TensorWithBytes[] = [
  tensor('model', 'fc1.bias', 'F32', [4], new Float32Array([1, -2, Number.NaN, -0])),
  tensor(
    'model',
    'fc1.kernel',
    'F32',
    [26, 28],
    new Float32Array(728).map((_, i) => i / 7),
  ),
  tensor('model', 'é/步', 'BF16', [3], new Uint16Array([1, 2, 3])),
  tensor('model', 'empty', 'F64', [0, 9], new Float64Array()),
  tensor('optimizer', 'fc1.bias', 'F32', [4], new Float32Array([5, 6, 7, 8])),
  tensor('optimizer', 'iterations', 'I64', [], new BigInt64Array([123n])),
  tensor('gradient', 'fc1.bias', 'F32', [4], new Float32Array([9, 9, 9, 9])),
  tensor('rng', 'key', 'U32', [2], new Uint32Array([0xdeadbeef, 1])),
  tensor('extra', '0', 'BOOL', [2], new Uint8Array([1, 0])),
];

function tensor(
  group: TensorGroup,
  name: string,
  dtype: DType,
  shape: readonly number[],
  array: ArrayBufferView,
): TensorWithBytes {
  return { group, name, dtype, shape, bytes: bytesOf(array) };
}

/** A header with a given metadata and the checksum that belongs to it: what a hostile writer makes. */
function forge(
  metadata: Readonly<Record<string, string>>,
  tensors: readonly { name: string; dtype: DType; shape: readonly number[] }[] = [],
): Uint8Array {
  const all = {
    'highwater.format': '1',
    'highwater.header': '00000000',
    'highwater.checksums': '00000000'.repeat(tensors.length),
    'highwater.document': '{}',
    ...metadata,
  };
  const given = Object.entries(all).filter(([, value]) => value !== 'absent');
  const header = encodeHeader(tensors, Object.fromEntries(given));
  const text = new TextDecoder('latin1').decode(header);
  const at = text.indexOf('"highwater.header":"') + '"highwater.header":"'.length;
  if (metadata['highwater.header'] === undefined) {
    header.set(new TextEncoder().encode(crc32(header).toString(16).padStart(8, '0')), at);
  }
  return header;
}

describe('a checkpoint', () => {
  test('comes back whole, each tensor in its group', () => {
    const { document, tensors } = readCheckpoint(writeCheckpoint(DOCUMENT, TENSORS));
    expect(isDeepStrictEqual(document, DOCUMENT)).toBe(true);
    const key = (t: CheckpointTensor): string => `${t.group} ${t.name}`;
    const byKey = (a: CheckpointTensor, b: CheckpointTensor): number => (key(a) < key(b) ? -1 : 1);
    expect(
      [...tensors]
        .sort(byKey)
        .map(({ group, name, dtype, shape, bytes }) => ({ group, name, dtype, shape, bytes })),
    ).toEqual([...TENSORS].sort(byKey));
  });

  test('may have no tensors and nothing in its document', () => {
    const file = writeCheckpoint({}, []);
    expect(readIndex(file, file.length)).toEqual({ formatVersion: 1, document: {}, tensors: [] });
  });

  test('has the same bytes each time, in whatever order its tensors are given', () => {
    const file = writeCheckpoint(DOCUMENT, TENSORS);
    fc.assert(
      fc.property(fc.shuffledSubarray([...TENSORS], { minLength: TENSORS.length }), (tensors) => {
        expect(writeCheckpoint(DOCUMENT, tensors)).toEqual(file);
      }),
    );
    // Changes only with the format: then FORMAT_VERSION changes too, and the old one is still read.
    expect(crc32(file).toString(16)).toBe('19885e11');
  });

  test('comes back for any document, groups, names and bytes', () => {
    const anyTensor = fc
      .record({
        group: fc.constantFrom<TensorGroup>('model', 'optimizer', 'gradient', 'rng', 'extra'),
        name: fc.string({ unit: 'binary', maxLength: 6 }),
        bytes: fc.uint8Array({ maxLength: 40 }),
      })
      .map(({ group, name, bytes }) => ({ group, name, bytes, shape: [bytes.length] }))
      .chain((t) => fc.constantFrom<DType>('U8', 'BOOL', 'I8').map((dtype) => ({ ...t, dtype })));
    const anyTensors = fc.uniqueArray(anyTensor, { selector: ({ group, name }) => group + name });
    const anyDocument = fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      fc.oneof(fc.double(), fc.string({ unit: 'binary' })),
    );
    fc.assert(
      fc.property(anyDocument, anyTensors, (document, tensors) => {
        const back = readCheckpoint(writeCheckpoint(document, tensors));
        expect(back.document).toEqual({ ...document });
        expect(back.tensors).toHaveLength(tensors.length);
        for (const { group, name, bytes } of tensors) {
          const found = back.tensors.filter((t) => t.group === group && t.name === name);
          expect(found.map((t) => t.bytes)).toEqual([bytes]);
        }
      }),
    );
  });

  test('has a header that is written before the checksums are known, and over it after', () => {
    const plan = planFile(DOCUMENT, TENSORS);
    const placeholder = plan.header();
    const checksums = plan.order.map((_, i) => i * 0x01010101);
    const header = plan.header(checksums);
    expect(placeholder).toHaveLength(plan.headerBytes);
    expect(header).toHaveLength(plan.headerBytes);
    const { tensors } = readIndex(header, plan.sizeBytes);
    expect(tensors.map(({ checksum }) => checksum)).toEqual(checksums);
    expect(tensors.map(({ name }) => name)).toEqual(plan.order.map((i) => TENSORS[i]?.name));
    expect(refusal(() => readIndex(placeholder, plan.sizeBytes)).message).toContain('checksum');
    expect(() => plan.header([1])).toThrow(MisconfigurationError);
  });

  test('with two hundred tensors and a document of 100 kB is planned in a moment', () => {
    const tensors = Array.from({ length: 200 }, (_, i) => ({
      group: 'model' as const,
      name: `block${i}/attention/query.kernel`,
      dtype: 'F32' as const,
      shape: [64, 64],
    }));
    const document = { text: 'x'.repeat(100_000) };
    const times = Array.from({ length: 20 }, () => {
      const start = performance.now();
      const plan = planFile(document, tensors);
      plan.header(plan.order.map(() => 1));
      return performance.now() - start;
    });
    expect(Math.min(...times)).toBeLessThan(10);
  });
});

describe('planFile refuses', () => {
  const of = (group: TensorGroup, name: string): CheckpointTensor => ({
    group,
    name,
    dtype: 'F32',
    shape: [],
  });

  test.each([
    ['a reserved name', {}, [of('model', '__highwater__/rng/key')], 'reserved'],
    ['the name __metadata__', {}, [of('model', '__metadata__')], 'reserved'],
    ['one name for two weights', {}, [of('model', 'a'), of('model', 'a')], 'is there twice'],
    ['one name for two slots', {}, [of('optimizer', 'a'), of('optimizer', 'a')], 'is there twice'],
    [
      'what JSON cannot hold',
      { hyperParameters: { lr: 1n } },
      [],
      'hyperParameters.lr is a bigint',
    ],
    ['a reference to nothing', { ema: new TensorRef('0') }, [], 'ema refers to "0"'],
    [
      'a reference to a weight',
      { ema: new TensorRef('a') },
      [of('model', 'a')],
      'ema refers to "a"',
    ],
  ])('%s', (_, document, tensors, message) => {
    const plan = (): unknown => planFile(document as unknown as JsonObject, tensors);
    expect(plan).toThrow(MisconfigurationError);
    expect(plan).toThrow(message);
  });

  test('nothing for one name in two groups', () => {
    const tensors = [of('model', 'a'), of('optimizer', 'a'), of('extra', 'a')];
    expect(planFile({}, tensors).order).toHaveLength(3);
  });
});

describe('readIndex', () => {
  test('recognises a safetensors file that Highwater did not write', () => {
    const file = fileWithHeader(
      '{"__metadata__":{"format":"pt"},' +
        '"__highwater__/rng/key":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},' +
        '"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}',
      3,
    );
    const { formatVersion, document, tensors } = readIndex(file, file.length);
    expect([formatVersion, document]).toEqual([undefined, undefined]);
    expect(tensors.map(({ group, name, checksum }) => [group, name, checksum])).toEqual([
      ['model', 'w', undefined],
      ['model', '__highwater__/rng/key', undefined],
    ]);
  });

  test('refuses a newer format, naming the version needed', () => {
    const header = forge({ 'highwater.format': '12', 'highwater.document': 'unknown' });
    const error = refusal(() => readIndex(header, header.length));
    expect(error.code).toBe('CHECKPOINT_VERSION');
    expect(error.message).toContain('a version that reads format 12 is needed');
    expect(error.details).toEqual({ formatVersion: 12, newestReadable: 1 });
    expect(error.byteOffset).toBe(8 + '{"__metadata__":{"highwater.format":"'.length);
  });

  // In the document `^` stands before the first wrong character.
  test.each([
    ['no format', { 'highwater.format': 'absent' }, 'no highwater.format'],
    ['no header checksum', { 'highwater.header': 'absent' }, 'no highwater.header'],
    ['no checksums', { 'highwater.checksums': 'absent' }, 'no highwater.checksums'],
    ['no document', { 'highwater.document': 'absent' }, 'no highwater.document'],
    ['format 0', { 'highwater.format': '0' }, '"0" is no format version'],
    ['format 1.0', { 'highwater.format': '1.0' }, 'is no format version'],
    ['another header checksum', { 'highwater.header': '12345678' }, 'does not have the checksum'],
    ['a short header checksum', { 'highwater.header': '1234567' }, 'malformed'],
    ['a checksum in capitals', { 'highwater.header': 'ABCDEF00' }, 'malformed'],
    ['too many checksums', { 'highwater.checksums': '00000000' }, 'have 0 checksums'],
    ['a document that is an array', { 'highwater.document': '^[]' }, 'not an object'],
    ['a document that is a tag', { 'highwater.document': '{"$number":"NaN"}' }, 'not an object'],
    ['a document that is not JSON', { 'highwater.document': '{"é😀\\n":^x}' }, 'expected a value'],
    ['a key twice in the document', { 'highwater.document': '{"a":1,^"a":1}' }, 'stands twice'],
    [
      '__proto__ in the document',
      { 'highwater.document': '{"😀":{^"__proto__":{}}}' },
      '__proto__',
    ],
    ['a reference to nothing', { 'highwater.document': '{"t":{"$tensor":^"0"}}' }, 'no tensor "0"'],
    [
      'deep nesting',
      { 'highwater.document': `{"a":${'['.repeat(99)}^${'['.repeat(1e5)}` },
      'levels',
    ],
  ])('refuses %s', (_, metadata: Record<string, string>, message) => {
    const marked = metadata['highwater.document'] ?? '';
    const header = forge(
      marked.includes('^') ? { 'highwater.document': marked.replace('^', '') } : metadata,
    );
    const error = refusal(() => readIndex(header, header.length));
    expect(error.code).toBe('CHECKPOINT_INVALID');
    expect(error.message).toContain(message);
    expect(error.byteOffset).toBeTypeOf('number');
    if (!marked.includes('^')) return;
    const before = JSON.stringify(marked.slice(0, marked.indexOf('^'))).slice(0, -1);
    const at = indexOfBytes(header, `"highwater.document":${before}`);
    expect(error.byteOffset).toBe(at);
  });

  test('refuses a tensor of no known group', () => {
    const header = forge({}, [
      { name: 'é', dtype: 'F32', shape: [0] },
      { name: '__highwater__/weights/é', dtype: 'U8', shape: [0] },
    ]);
    const error = refusal(() => readIndex(header, header.length));
    expect(error.message).toContain('of no known group');
    expect(error.byteOffset).toBe(indexOfBytes(header, '"__highwater__/') - 15);
    const short = forge({}, [{ name: '__highwater__/rng', dtype: 'U8', shape: [0] }]);
    expect(refusal(() => readIndex(short, short.length)).message).toContain('of no known group');
  });

  test('refuses checksums that are not hexadecimal', () => {
    const one = [{ name: 'a', dtype: 'U8' as const, shape: [0] }];
    const header = forge({ 'highwater.checksums': '0000000g' }, one);
    expect(refusal(() => readIndex(header, header.length)).message).toContain('1 checksums');
  });
});

/** The index just after the first occurrence of a text in bytes. */
function indexOfBytes(bytes: Uint8Array, text: string): number {
  const index = Buffer.from(bytes).indexOf(text);
  if (index === -1) throw new Error(`${text} is not there`);
  return index + Buffer.byteLength(text);
}

describe('a file of 4 kB', () => {
  const file = writeCheckpoint(DOCUMENT, TENSORS);

  test('is about that long', () => {
    expect(file.length).toBeGreaterThan(3500);
    expect(file.length).toBeLessThan(4500);
  });

  test('is refused when cut anywhere, at the byte where it is cut or before', () => {
    for (let length = 0; length < file.length; length++) {
      const { byteOffset } = refusal(() => readCheckpoint(file.subarray(0, length)));
      expect(byteOffset).toBeLessThanOrEqual(length);
    }
  });

  test('is refused when longer', () => {
    const longer = new Uint8Array(file.length + 1);
    longer.set(file);
    expect(refusal(() => readCheckpoint(longer)).byteOffset).toBe(file.length);
  });

  test('is refused with any single bit flipped', () => {
    const damaged = file.slice();
    for (let bit = 0; bit < file.length * 8; bit++) {
      const at = bit >> 3;
      damaged[at] = (file[at] as number) ^ (1 << (bit & 7));
      const { byteOffset } = refusal(() => readCheckpoint(damaged));
      if (byteOffset === undefined || byteOffset > file.length) throw new Error(`bit ${bit}`);
      damaged[at] = file[at] as number;
    }
  });

  test('is refused with any run of bytes overwritten', () => {
    const run = fc.uint8Array({ minLength: 1, maxLength: 64 });
    fc.assert(
      fc.property(fc.nat(file.length - 1), run, (at, bytes) => {
        const damaged = file.slice();
        damaged.set(bytes.subarray(0, file.length - at), at);
        fc.pre(!isDeepStrictEqual(damaged, file));
        refusal(() => readCheckpoint(damaged));
      }),
      { numRuns: 1000 },
    );
  });
});
