import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Duration, durationMs } from '../../src/checkpoint/duration.ts';
import { MisconfigurationError } from '../../src/errors.ts';

describe('durationMs', () => {
  it.each<[Duration, number]>([
    [0, 0],
    [1500, 1500],
    [0.5, 0.5],
    [{ seconds: 0 }, 0],
    [{ hours: 1, minutes: 30 }, 5_400_000],
    [{ days: 1, hours: 1, minutes: 1, seconds: 1, milliseconds: 1 }, 90_061_001],
    [{ minutes: 0.5, hours: undefined }, 30_000],
    ['00:00:00:00', 0],
    ['01:02:03:04', 93_784_000],
    ['00:12:00:00', 43_200_000],
    ['120:00:00:00', 10_368_000_000],
    ['00:00:90:00', 5_400_000],
  ])('takes %j as %s ms', (value, expected) => {
    expect(durationMs('maxTime', value)).toBe(expected);
  });

  it('adds its parts up', () => {
    const amount = fc.nat(1_000_000);
    fc.assert(
      fc.property(amount, amount, amount, (hours, minutes, seconds) => {
        const parts = durationMs('t', { hours, minutes, seconds });
        expect(parts).toBe(((hours * 60 + minutes) * 60 + seconds) * 1000);
      }),
    );
  });

  it.each<[Duration, string]>([
    [-1, '-1'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [{}, '{}'],
    [{ hours: undefined }, '{hours: undefined}'],
    [{ hours: -1, minutes: 90 }, '{hours: -1, minutes: 90}'],
    [{ hours: Number.NaN }, '{hours: NaN}'],
    [{ hours: '1' as never }, '{hours: 1}'],
    [{ days: 1e305 }, '{days: 1e+305}'],
    [{ weeks: 1 } as never, '{weeks: 1}'],
    [{ toString: 1 } as never, '{toString: 1}'],
    ['12:00:00', "'12:00:00'"],
    ['1h', "'1h'"],
    ['00:1:00:00', "'00:1:00:00'"],
    ['', "''"],
    [true as never, 'true'],
    [null as never, 'null'],
    [[1] as never, '1'],
  ])('refuses %j and says what it must be', (value, shown) => {
    expect(() => durationMs('maxTime', value)).toThrow(MisconfigurationError);
    expect(() => durationMs('maxTime', value)).toThrow(
      `maxTime is ${shown}, but it must be milliseconds (a finite number of at least 0), parts`,
    );
  });
});
