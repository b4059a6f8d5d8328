import fc from 'fast-check';
import { expect, it } from 'vitest';
import { compareScores, isBetter } from '../../src/checkpoint/monitor.ts';

const scores = fc.array(fc.oneof(fc.constant(Number.NaN), fc.double()), { maxLength: 8 });

it.each(['min', 'max'] as const)(
  'puts the best first by %s and NaN last, whatever the order before',
  (mode) => {
    fc.assert(
      fc.property(scores, (given) => {
        const sorted = given.toSorted((a, b) => compareScores(mode, a, b));
        const numbers = sorted.filter((score) => !Number.isNaN(score));
        expect(sorted.slice(numbers.length).every(Number.isNaN)).toBe(true);
        const isUnordered = numbers.some((score, i) =>
          isBetter(mode, numbers[i + 1] ?? score, score),
        );
        expect(isUnordered).toBe(false);
      }),
    );
  },
);
