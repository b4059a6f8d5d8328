import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MisconfigurationError } from '../../src/errors.ts';
import { philox4x32 } from '../../src/trainer/philox.ts';
import { Rng } from '../../src/trainer/rng.ts';

const seeds = fc.maxSafeNat();
const draws = (rng: Rng, count: number) => Array.from({ length: count }, () => rng.nextUint32());

/** Every kind of draw, in a fixed order. */
const mixture = (rng: Rng) => [
  rng.nextUint32(),
  rng.uniform(),
  rng.normal(),
  rng.integer(10),
  rng.nextSeed(),
  ...rng.shuffle([1, 2, 3, 4, 5]),
];

describe('Rng', () => {
  it('draws the words of Philox4x32-10, the seed as key and the draws counted', () => {
    expect(draws(new Rng(0), 4)).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
    const seed = 0x1f_ffff_ffff_ffff;
    const key = [0xffff_ffff, 0x1f_ffff] as const;
    expect(draws(new Rng(seed), 8)).toEqual([
      ...philox4x32([0, 0, 0, 0], key),
      ...philox4x32([1, 0, 0, 0], key),
    ]);
  });

  it('repeats itself for the same seed and differs for another', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        expect(mixture(new Rng(seed))).toEqual(mixture(new Rng(seed)));
        const other = seed === 0 ? 1 : seed - 1;
        expect(draws(new Rng(seed), 4)).not.toEqual(draws(new Rng(other), 4));
      }),
    );
  });

  it('goes on exactly from a state read at any draw, through JSON', () => {
    fc.assert(
      fc.property(seeds, fc.nat(50), fc.option(fc.string()), (seed, before, label) => {
        const root = new Rng(seed);
        const rng = label === null ? root : root.fork(label);
        draws(rng, before);
        const state = JSON.parse(JSON.stringify(rng.stateDict()));
        const expected = mixture(rng);
        const restored = new Rng(7);
        draws(restored, 3);
        restored.loadStateDict(state);
        expect(mixture(restored)).toEqual(expected);
        expect(restored.stateDict()).toEqual(rng.stateDict());
      }),
    );
  });

  it('counts beyond 2^32 draws', () => {
    const rng = new Rng(0);
    rng.loadStateDict({ seed: 0, stream: [0, 0], counter: 2 ** 34 + 4 });
    expect(draws(rng, 4)).toEqual([...philox4x32([1, 1, 0, 0], [0, 0])]);
  });

  it('draws nothing when its state is read', () => {
    const rng = new Rng(1);
    const expected = draws(new Rng(1), 5);
    for (const word of expected) {
      rng.stateDict();
      expect(rng.nextUint32()).toBe(word);
    }
  });

  it('gives uniform numbers in [0, 1) of 53 bits', () => {
    const rng = new Rng(3);
    const numbers = Array.from({ length: 20_000 }, () => rng.uniform());
    expect(numbers.every((u) => u >= 0 && u < 1 && Number.isInteger(u * 2 ** 53))).toBe(true);
    expect(mean(numbers)).toBeCloseTo(0.5, 2);
    expect(variance(numbers)).toBeCloseTo(1 / 12, 2);
  });

  it('gives normal numbers of mean 0 and variance 1, each from four draws', () => {
    const rng = new Rng(4);
    const numbers = Array.from({ length: 20_000 }, () => rng.normal());
    expect(mean(numbers)).toBeCloseTo(0, 1);
    expect(variance(numbers)).toBeCloseTo(1, 1);
    expect(rng.stateDict().counter).toBe(80_000);
  });

  it('gives integers below the bound, all of them equally often', () => {
    const rng = new Rng(5);
    const counts = [0, 0, 0, 0, 0, 0, 0];
    for (let i = 0; i < 70_000; i++) counts[rng.integer(7)]! += 1;
    // The 0.1 % point of chi-squared with 6 degrees of freedom.
    expect(counts.reduce((sum, n) => sum + (n - 10_000) ** 2 / 10_000, 0)).toBeLessThan(22.5);
    expect(rng.integer(1)).toBe(0);
  });

  it('draws again where a word would make small integers more likely', () => {
    const bound = 2 ** 31 + 1;
    const rng = new Rng(6);
    const words = new Rng(6);
    let word = words.nextUint32();
    let skipped = 0;
    for (let i = 0; i < 100; i++) {
      for (; word >= bound; skipped++) word = words.nextUint32();
      expect(rng.integer(bound)).toBe(word);
      word = words.nextUint32();
    }
    expect(skipped).toBeGreaterThan(20);
    expect(rng.integer(2 ** 32)).toBe(word);
  });

  it('gives seeds that every engine takes: from 1 to 2^31 - 1', () => {
    const rng = new Rng(8);
    for (let i = 0; i < 1000; i++) {
      const seed = rng.nextSeed();
      expect(seed).toBe(seed | 0);
      expect(seed).toBeGreaterThan(0);
    }
  });

  it('shuffles in place, every order equally often', () => {
    const rng = new Rng(9);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = rng.shuffle(Uint32Array.of(1, 2, 3, 4)).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    const chiSquared = [...counts.values()].reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0);
    expect(chiSquared).toBeLessThan(49.7);
    const items = ['a', 'b'];
    expect(rng.shuffle(items)).toBe(items);
    expect(rng.shuffle([])).toEqual([]);
  });

  it('forks streams by their label alone, whatever has been drawn', () => {
    const parent = new Rng(10);
    const early = draws(parent.fork('data'), 8);
    draws(parent, 5);
    const before = parent.stateDict();
    expect(draws(parent.fork('data'), 8)).toEqual(early);
    expect(parent.stateDict()).toEqual(before);
  });

  it('forks a different stream for every label, number or string, and depth', () => {
    const parent = new Rng(11);
    const labels = [0, 1, '1', '', 'a', 'b', 'a\0', 'a longer label of several blocks', -1, 0.5];
    const streams = [
      parent,
      parent.fork(1).fork(2),
      parent.fork(2).fork(1),
      new Rng(12).fork(1),
      ...labels.map((label) => parent.fork(label)),
    ].map((rng) => draws(rng, 4).join());
    expect(new Set(streams).size).toBe(streams.length);
  });

  it.each([-1, 0.5, Number.NaN, 2 ** 53, '1' as never])('refuses the seed %s', (seed) => {
    expect(() => new Rng(seed)).toThrow(MisconfigurationError);
    expect(() => new Rng(seed)).toThrow(`seed is ${seed}, but it must be an integer from 0`);
  });

  it.each([0, -1, 1.5, Number.NaN, 2 ** 32 + 1])('refuses the bound %s', (bound) => {
    expect(() => new Rng(0).integer(bound)).toThrow(`boundExclusive is ${bound}`);
  });

  it.each([
    null,
    3,
    {},
    { seed: 1, stream: [0, 0] },
    { seed: -1, stream: [0, 0], counter: 0 },
    { seed: 1, stream: [0], counter: 0 },
    { seed: 1, stream: [0, 2 ** 32], counter: 0 },
    { seed: 1, stream: [0, 0], counter: 0.5 },
  ])('refuses the state %j and stays as it is', (state) => {
    const rng = new Rng(1);
    expect(() => rng.loadStateDict(state)).toThrow(MisconfigurationError);
    expect(rng.stateDict()).toEqual({ seed: 1, stream: [0, 0], counter: 0 });
  });
});

function mean(numbers: readonly number[]): number {
  return numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
}

function variance(numbers: readonly number[]): number {
  const centre = mean(numbers);
  return mean(numbers.map((n) => (n - centre) ** 2));
}
