import { expect, it } from 'vitest';
import { DataLoader } from '../../src/index.ts';
import { dataSources } from '../../src/trainer/data-source.ts';

const one = new DataLoader([1]);
const two = new DataLoader([2]);
const batches = [[1, 2], [3]];

it.each([
  ['nothing', undefined, []],
  ['a DataLoader', one, [one]],
  ['an array of DataLoaders, several', [one, two], [one, two]],
  ['an array of one DataLoader', [one], [one]],
  ['an array of numbers, its batches', [1, 2], [[1, 2]]],
  ['an array of arrays, its batches', batches, [batches]],
  ['an array of typed arrays, its batches', [Float32Array.of(1)], [[Float32Array.of(1)]]],
])('takes %s', (_, given, sources) => {
  expect(dataSources(given as never)).toEqual(sources);
});
