import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeptModels } from '../../src/checkpoint/kept-models.ts';
import { isBetter, type Mode } from '../../src/checkpoint/monitor.ts';
import { SortedMap } from '../../src/checkpoint/sorted-map.ts';

/** Few paths and scores, so that they meet. */
const change = fc.record({
  kind: fc.constantFrom<'with' | 'without' | 'back' | 'renamed'>(
    ...(['with', 'with', 'without', 'back', 'renamed'] as const),
  ),
  path: fc.integer({ min: 0, max: 40 }).map((n) => `/c/${n}.ckpt`),
  score: fc.constantFrom(0, -0, 1, 2, 3, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
});

/** The rule, spelt out: a walk over all in the order they were saved. */
function oldestBest(mode: Mode, kept: ReadonlyMap<string, number>): [string, number] | undefined {
  let best: [string, number] | undefined;
  for (const entry of kept) if (!best || isBetter(mode, entry[1], best[1])) best = entry;
  return best;
}

describe('KeptModels', () => {
  it('lists, finds and ranks as a Map that is walked would, and leaves older versions as they were', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 120 }), (changes) => {
        const versions: [KeptModels, Map<string, number>][] = [[KeptModels.none, new Map()]];
        for (const { kind, path, score } of changes) {
          const [kept, model] = versions.at(-1)!;
          let next = new Map(model);
          const change = {
            with: () => kept.with(path, score),
            without: () => kept.without(path),
            // Taken out for another, which is taken back.
            back: () => {
              const [old, age] = [kept.get(path), kept.ageOf(path)];
              const without = kept.without(path).with('/c/other.ckpt', score);
              const undone = without.without('/c/other.ckpt');
              return old === undefined ? undone : undone.with(path, old, age);
            },
            renamed: () => kept.renamed(path, `${path}-v1`),
          }[kind]();
          if (kind === 'with') next.set(path, score);
          if (kind === 'without') next.delete(path);
          if (kind === 'renamed') {
            next = new Map([...model].map(([key, of]) => [key === path ? `${key}-v1` : key, of]));
          }
          versions.push([change, next]);
        }
        for (const [kept, model] of versions) {
          expect([...kept]).toEqual([...model]);
          expect(kept.size).toBe(model.size);
          for (const path of model.keys()) expect(kept.get(path)).toBe(model.get(path));
          expect(kept.has('/c/none.ckpt')).toBe(false);
          for (const [mode, opposite] of [
            ['min', 'max'],
            ['max', 'min'],
          ] as const) {
            expect(kept.best(mode)).toEqual(oldestBest(mode, model));
            expect(kept.worst(mode)).toEqual(oldestBest(opposite, model));
          }
        }
      }),
    );
  });
});

describe('SortedMap', () => {
  it('keeps its order and stays shallow, in whatever order keys come and go', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(300)), { maxLength: 600 }), (changes) => {
        let comparisons = 0;
        let map = SortedMap.empty<number, string>((a, b) => {
          comparisons++;
          return a - b;
        });
        const model = new Map<number, string>();
        for (const [isAdded, key] of changes) {
          map = isAdded ? map.with(key, `${key}`) : map.without(key);
          if (isAdded) model.set(key, `${key}`);
          else model.delete(key);
        }
        const sorted = [...model].sort(([a], [b]) => a - b);
        expect([...map]).toEqual(sorted);
        expect(map.first()).toEqual(sorted[0]);
        expect(map.last()).toEqual(sorted.at(-1));
        expect(map.first(150)).toEqual(sorted.find(([key]) => key >= 150));
        comparisons = 0;
        map.get(150);
        expect(comparisons).toBeLessThanOrEqual(1 + 2.5 * Math.log2(map.size + 1));
      }),
    );
  });
});
