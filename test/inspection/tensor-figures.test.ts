import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DifferenceSum } from '../../src/inspection/tensor-difference.ts';
import { HistogramSum, StatisticsSum } from '../../src/inspection/tensor-statistics.ts';

const element = fc.oneof(
  fc.float({ min: -1e6, max: 1e6, noNaN: true }),
  fc.constantFrom(0, -0, Number.NaN, Infinity, -Infinity),
);
const parts = fc.array(fc.array(element, { maxLength: 20 }), { maxLength: 5 });

function statisticsOf(given: readonly number[][]) {
  const sum = new StatisticsSum();
  for (const part of given) sum.add(part);
  return sum.result;
}

it('are those of all elements, however they are cut into parts', () => {
  fc.assert(
    fc.property(parts, (given) => {
      const all = given.flat();
      const finite = all.filter(Number.isFinite);
      const found = statisticsOf(given);
      expect(found.count).toBe(all.length);
      expect(found.nanCount).toBe(all.filter(Number.isNaN).length);
      expect(found.infinityCount).toBe(all.length - finite.length - found.nanCount);
      expect(found.zeroCount).toBe(all.filter((value) => value === 0).length);
      if (finite.length === 0) {
        expect([found.min, found.max, found.mean, found.std]).toEqual([NaN, NaN, NaN, NaN]);
        return;
      }
      const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
      const variance = finite.reduce((a, b) => a + (b - mean) ** 2, 0) / finite.length;
      const scale = Math.max(...finite.map(Math.abs), 1);
      expect(found.min + 0).toBe(Math.min(...finite) + 0);
      expect(found.max + 0).toBe(Math.max(...finite) + 0);
      expect(Math.abs(found.mean - mean)).toBeLessThanOrEqual(scale * 1e-12);
      expect(Math.abs(found.std - Math.sqrt(variance))).toBeLessThanOrEqual(scale * 1e-7);
    }),
  );
});

it('lose nothing far from zero: a naive sum of squares would say 0', () => {
  const { mean, std } = statisticsOf([
    [1e9 + 1, 1e9 - 1],
    [1e9 + 1, 1e9 - 1],
  ]);
  expect([mean, std]).toEqual([1e9, 1]);
});

it('count every finite element in one part of the histogram', () => {
  fc.assert(
    fc.property(parts, fc.integer({ min: 1, max: 20 }), (given, count) => {
      const { min, max } = statisticsOf(given);
      fc.pre(!Number.isNaN(min));
      const sum = new HistogramSum(min, max, count);
      for (const part of given) sum.add(part);
      const finite = given.flat().filter(Number.isFinite);
      expect(sum.result.counts.reduce((a, b) => a + b, 0)).toBe(finite.length);
      expect(sum.result.counts).toHaveLength(count);
      if (min < max) expect(sum.result.counts.at(-1)).toBeGreaterThan(0);
      expect(sum.result.counts[0]).toBeGreaterThan(0);
    }),
  );
});

it('put the largest doubles into a histogram', () => {
  const sum = new HistogramSum(-Number.MAX_VALUE, Number.MAX_VALUE, 2);
  sum.add([-Number.MAX_VALUE, Number.MAX_VALUE, 1]);
  expect(sum.result.counts).toEqual([1, 2]);
});

it.each([
  [
    'equal numbers, NaNs and infinities',
    [0, -0, NaN, Infinity],
    [-0, 0, NaN, Infinity],
    0,
    0,
    0,
    0,
  ],
  ['one changed', [3, 4], [3, 5], 1, 1, 1 / 5, 0],
  ['all zeros before', [0, 0], [0, 2], 1, 2, Infinity, 0],
  ['NaN in one of them', [3, 4], [NaN, 4], 1, 0, 0, 1],
  ['another infinity', [Infinity, 4], [-Infinity, 6], 2, 2, 1 / 2, 1],
])('compare %s', (_, before, after, changed, maxAbs, relativeNorm, incomparable) => {
  const sum = new DifferenceSum();
  sum.add(before.slice(0, 1), after.slice(0, 1));
  sum.add(before.slice(1), after.slice(1));
  expect(sum.result).toEqual({
    count: before.length,
    changedCount: changed,
    maxAbs,
    relativeNorm,
    incomparableCount: incomparable,
  });
});
