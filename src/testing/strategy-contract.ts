import type { Strategy } from '../strategies/strategy.ts';
import type { Check, StrategyUnderTest } from './strategy-contract/check.ts';
import { meetingContract } from './strategy-contract/meeting.ts';
import { reducingContract } from './strategy-contract/reducing.ts';
import { tellingContract } from './strategy-contract/telling.ts';
import type { TestRunner } from './test-runner.ts';

export type { StrategyUnderTest } from './strategy-contract/check.ts';

/**
 * The suite that every `Strategy` must pass, ours or yours. Each process of a job runs it:
 *
 * ```ts
 * import { describe, it } from 'node:test';
 * strategyContract('mine', () => ({ ranks: [myStrategy()] }), { describe, it });
 * ```
 *
 * It uses `node:assert`, so any test runner will do that runs tests in order. What it cannot see is the end
 * of a process: kill a rank, and see that the others end too.
 *
 * @param make called once; its ranks are set up for the first test and torn down after the last.
 */
export function strategyContract(
  name: string,
  make: () => StrategyUnderTest | Promise<StrategyUnderTest>,
  { describe, it }: TestRunner,
): void {
  let made: StrategyUnderTest | undefined;
  const onAll = async (body: (strategy: Strategy) => Promise<void>): Promise<void> => {
    if (made === undefined) {
      made = await make();
      await Promise.all(made.ranks.map((strategy) => strategy.setup()));
    }
    await Promise.all(made.ranks.map(body));
  };
  const check: Check = (sentence, body) => it(sentence, () => onAll(body));
  describe(`${name} keeps the strategy contract:`, () => {
    meetingContract(check);
    tellingContract(check);
    reducingContract(check);
    it('leaves together, and leaving twice does nothing', () =>
      onAll(async (strategy) => {
        await strategy.teardown();
        await strategy.teardown();
      }));
  });
}
