import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MisconfigurationError, type PlateauOptions, reduceLROnPlateau } from '../../src/index.ts';

const NaN_ = Number.NaN;

it.each<[string, PlateauOptions, readonly number[], readonly number[]]>([
  ['waits while the metric gets better', { factor: 0.5, patience: 0 }, [5, 4, 3, 2], [1, 1, 1, 1]],
  [
    'reduces when more than `patience` steps brought nothing better',
    { factor: 0.5, patience: 1 },
    [5, 5, 5, 5, 5],
    [1, 1, 0.5, 0.5, 0.25],
  ],
  [
    'takes NaN for the worst value',
    { factor: 0.5, patience: 0 },
    [NaN_, 3, NaN_],
    [0.5, 0.5, 0.25],
  ],
  [
    'counts only what is better by a part of the best',
    { factor: 0.5, patience: 0, threshold: 0.1 },
    [10, 9.5, 8.9],
    [1, 0.5, 0.5],
  ],
  [
    'counts only what is better by an amount',
    { factor: 0.5, patience: 0, threshold: 1, thresholdMode: 'abs', mode: 'max' },
    [10, 11, 11.5],
    [1, 0.5, 0.5],
  ],
  [
    'counts nothing while it cools down',
    { factor: 0.5, patience: 0, cooldown: 2 },
    [5, 5, 5, 5, 5],
    [1, 0.5, 0.5, 0.5, 0.25],
  ],
  [
    'does not go below the lowest rate',
    { factor: 0.1, patience: 0, minLr: 0.05 },
    [1, 1, 1, 1],
    [1, 0.1, 0.05, 0.05],
  ],
])('%s', (_, options, metrics, expected) => {
  const scheduler = reduceLROnPlateau(options);
  scheduler.start?.(1);
  let present = 1;
  const rates = metrics.map((metric) => {
    present = scheduler.step(metric, present) ?? present;
    return present;
  });
  expect(rates).toEqual(expected.map((rate) => expect.closeTo(rate, 12)));
});

it('leaves a rate that somebody else has set, and reduces it from there', () => {
  const scheduler = reduceLROnPlateau({ factor: 0.5, patience: 0 });
  scheduler.start?.(1);
  expect(scheduler.step(5, 1)).toBeUndefined();
  expect(scheduler.step(4, 0.01)).toBeUndefined();
  expect(scheduler.step(4, 0.01)).toBe(0.005);
});

it('goes on with the same bits from any step it was stored at', () => {
  const metric = fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.constant(NaN_));
  fc.assert(
    fc.property(fc.array(metric), fc.array(metric), (before, after) => {
      const make = () => reduceLROnPlateau({ patience: 1, cooldown: 1, factor: 0.3 });
      const uninterrupted = make();
      uninterrupted.start?.(0.7);
      for (const value of before) uninterrupted.step(value, 0.7);
      const resumed = make();
      resumed.start?.(1);
      resumed.loadStateDict(uninterrupted.stateDict());
      for (const value of after) {
        expect(resumed.step(value, 0.7)).toBe(uninterrupted.step(value, 0.7));
      }
    }),
  );
});

it.each<[PlateauOptions, RegExp]>([
  [{ factor: 1 }, /factor is 1/],
  [{ patience: -1 }, /patience is -1/],
  [{ mode: 'best' as never }, /mode is 'best'/],
  [{ threshold: -1 }, /threshold is -1/],
  [{ thresholdMode: 'x' as never }, /thresholdMode/],
])('refuses %j', (options, message) => {
  expect(() => reduceLROnPlateau(options)).toThrow(MisconfigurationError);
  expect(() => reduceLROnPlateau(options)).toThrow(message);
});
