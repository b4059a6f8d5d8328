import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Conversion, planConversion } from '../../src/interop/conversion.ts';
import { contiguousStrides, gather } from '../../src/interop/strided.ts';

const WEIGHTS = [
  { name: 'conv1.weight', shape: [4, 3, 2, 5] },
  { name: 'conv1.bias', shape: [4] },
  { name: 'fc1.weight', shape: [7, 6] },
  { name: 'fc1.num_batches_tracked', shape: [] },
];
const plan = (conversion: Conversion) =>
  planConversion(WEIGHTS, conversion).map(({ name, axes }) => [name, axes?.join(' ')]);

it('leaves everything as it is when nothing is said', () => {
  expect(plan({})).toEqual(WEIGHTS.map(({ name }) => [name, undefined]));
});

it('renames, reorders and drops what it is told, by name and by pattern', () => {
  expect(
    plan({
      rename: { 'fc*.weight': 'dense*/kernel', '*.weight': '*/kernel', 'conv1.bias': 'b' },
      axes: { 'conv*.weight': 'OIHW->HWIO', 'fc1.weight': 'OI->IO' },
      drop: ['*.num_batches_tracked'],
    }),
  ).toEqual([
    ['conv1/kernel', '2 3 1 0'],
    ['b', undefined],
    ['dense1/kernel', '1 0'],
  ]);
});

it('takes the first of several keys that fit', () => {
  const { rename } = { rename: { '*.weight': 'a.*', 'fc1.weight': 'b' } };
  expect(plan({ rename }).map(([name]) => name)).toContain('a.fc1');
});

describe('refuses', () => {
  it.each<[string, Conversion, RegExp]>([
    [
      'a name that fits nothing',
      { rename: { 'fc2.weight': 'x' } },
      /rename: no weight is named "fc2\.weight"\. There are "conv1\.weight"/,
    ],
    ['a pattern that fits nothing', { drop: ['*.gamma'] }, /drop: no weight/],
    ['a dot that stands for any letter', { drop: ['fc1?weight'] }, /drop: no weight/],
    [
      'two weights of one name',
      { rename: { '*.weight': 'w' } },
      /two weights come to be named "w"/,
    ],
    ['a star that stands for nothing', { rename: { 'fc1.weight': '*' } }, /more '\*'/],
    [
      'letters for other dimensions',
      { axes: { 'fc1.weight': 'OIHW->HWIO' } },
      /4 dimensions.*"fc1\.weight".*2: \[7, 6\]/,
    ],
    ['other letters after than before', { axes: { 'fc1.weight': 'OI->IX' } }, /same letters/],
    ['a letter that stands twice', { axes: { 'fc1.weight': 'OO->OO' } }, /each once/],
    ['a layout without an arrow', { axes: { 'fc1.weight': 'transpose' } }, /'OI->IO'/],
  ])('%s', (_, conversion, message) => {
    expect(() => plan(conversion)).toThrow(
      expect.objectContaining({
        code: 'MISCONFIGURATION',
        message: expect.stringMatching(message),
      }),
    );
  });
});

describe('gather', () => {
  const shapes = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 5 });
  const permutations = shapes.chain((shape) =>
    fc.tuple(
      fc.constant(shape),
      fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
    ),
  );

  it('of a permuted view has each element where its indices say, whatever its size', () => {
    fc.assert(
      fc.property(permutations, fc.constantFrom(1, 2, 4, 8, 16), ([shape, axes], elementBytes) => {
        const count = shape.reduce((product, size) => product * size, 1);
        const bytes = Uint8Array.from({ length: count * elementBytes }, (_, i) => (i * 31) % 251);
        const strides = contiguousStrides(shape);
        const view = {
          shape: axes.map((a) => shape[a]!),
          strides: axes.map((a) => strides[a]!),
          offset: 0,
        };
        const found = gather(bytes, elementBytes, view);
        const expected: number[] = [];
        const visit = (depth: number, at: number): void => {
          if (depth === axes.length) {
            expected.push(...bytes.subarray(at * elementBytes, (at + 1) * elementBytes));
            return;
          }
          for (let i = 0; i < view.shape[depth]!; i++)
            visit(depth + 1, at + i * view.strides[depth]!);
        };
        if (count > 0) visit(0, 0);
        expect([...found]).toEqual(expected);
      }),
    );
  });

  it('and back is the identity', () => {
    fc.assert(
      fc.property(permutations, ([shape, axes]) => {
        const count = shape.reduce((product, size) => product * size, 1);
        const bytes = new Uint8Array(Float32Array.from({ length: count }, (_, i) => i).buffer);
        const permute = (from: Uint8Array, of: readonly number[], order: readonly number[]) => {
          const strides = contiguousStrides(of);
          return gather(from, 4, {
            shape: order.map((a) => of[a]!),
            strides: order.map((a) => strides[a]!),
            offset: 0,
          });
        };
        const there = permute(bytes, shape, axes);
        const inverse = axes.map((_, i) => axes.indexOf(i));
        expect(
          permute(
            there,
            axes.map((a) => shape[a]!),
            inverse,
          ),
        ).toEqual(bytes);
      }),
    );
  });
});
