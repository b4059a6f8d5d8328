import type { Strategy } from '../../strategies/strategy.ts';

/** The ranks of one job that live in this process: one of many under a launcher, or all of them. */
export interface StrategyUnderTest {
  readonly ranks: readonly Strategy[];
}

/** Registers one test: its body runs once for each rank, on all of them at once. */
export type Check = (sentence: string, body: (strategy: Strategy) => Promise<void>) => unknown;

/** Something that differs from rank to rank and is the same in every process: a number in [0, 1). */
export function noise(rank: number, i: number): number {
  const x = Math.sin(rank * 7919 + i * 104729) * 43758.5453;
  return x - Math.floor(x);
}
