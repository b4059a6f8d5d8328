import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { anyConfiguration, CONFIGURATIONS, type Configuration } from './configuration.ts';
import type { SavePoint } from './recorded-run.ts';
import { inNewProcess, stopAnywhere } from './stop-anywhere.ts';

/** `npm run crash:resume` tries all points of many more; here a few of each. */
const POINTS_EACH = 3;

/**
 * Where the first of them is, as a part of the way to the second. A failure prints the seed that gave it. Not
 * `fc.double`, of whose values nearly all are nearly 0.
 */
const start = fc.noBias(fc.integer({ min: 0, max: 999 })).map((n) => n / 1000);
const once = { numRuns: 1, endOnFailure: true } as const;

/** Some points, spread over the run, of both kinds. */
function some(points: readonly SavePoint[], count: number, from: number): readonly SavePoint[] {
  const stride = points.length / count;
  const indices = Array.from({ length: count }, (_, i) => Math.floor(from * stride + i * stride));
  return [...new Set(indices)].flatMap((index) => points[index] ?? []);
}

describe('a run that is stopped at a checkpoint and resumed by a new Trainer', () => {
  it.each(Object.entries(CONFIGURATIONS))(
    'does all that an unbroken one does, and leaves the same files: %s',
    async (_, configuration) => {
      const property = fc.asyncProperty(start, async (from) => {
        const { points, problems } = await stopAnywhere(configuration, (all) => [
          ...some(all, POINTS_EACH, from),
          ...all.slice(-2),
        ]);
        expect(points).toBeGreaterThan(50);
        expect(problems).toEqual([]);
      });
      await fc.assert(property, once);
    },
  );

  it('does so in a new process, too', async () => {
    const configuration = CONFIGURATIONS['Adam of TensorFlow.js, with dropout'] as Configuration;
    const property = fc.asyncProperty(start, async (from) => {
      const choose = (all: readonly SavePoint[]): readonly SavePoint[] => some(all, 2, from);
      const { tried, problems } = await stopAnywhere(configuration, choose, inNewProcess);
      expect(tried).toBe(2);
      expect(problems).toEqual([]);
    });
    await fc.assert(property, once);
  });

  it('does so for any configuration, at any point', async () => {
    await fc.assert(
      fc.asyncProperty(anyConfiguration, start, async (configuration, from) => {
        const { problems } = await stopAnywhere(configuration, (all) => some(all, 2, from));
        expect(problems).toEqual([]);
      }),
      { numRuns: 4, endOnFailure: true },
    );
  });
});
