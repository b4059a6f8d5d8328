import { averagingContract } from './engine-contract/averaging.ts';
import { capturingContract } from './engine-contract/capturing.ts';
import { type Check, type EngineUnderTest, Modules } from './engine-contract/check.ts';
import { loadingContract } from './engine-contract/loading.ts';
import { refusingContract } from './engine-contract/refusing.ts';
import { resumingContract } from './engine-contract/resuming.ts';
import { schedulingContract } from './engine-contract/scheduling.ts';
import { steppingContract } from './engine-contract/stepping.ts';
import type { TestRunner } from './test-runner.ts';

export type { EngineUnderTest } from './engine-contract/check.ts';

/**
 * The suite that every `Engine` must pass, ours or yours, with any optimizer:
 *
 * ```ts
 * import { describe, it } from 'node:test';
 * const make = () => ({
 *   open: () => new TwoLayers(),
 *   batch: (step: number) => [Math.sin(step), Math.cos(step)],
 *   brokenBatch: 'not a batch',
 * });
 * engineContract('mine', make, { describe, it });
 * ```
 *
 * It uses `node:assert`, so any test runner will do. What it cannot see is another process: names and
 * bits must be the same there too.
 *
 * @param make called once for each test.
 */
export function engineContract(
  name: string,
  make: () => EngineUnderTest | Promise<EngineUnderTest>,
  { describe, it }: TestRunner,
): void {
  const check: Check = (sentence, body) =>
    it(sentence, async () => {
      const made = await make();
      const modules = new Modules(made);
      try {
        await body(modules);
      } finally {
        modules.dispose();
        await made.dispose?.();
      }
    });
  describe(`${name} keeps the engine contract:`, () => {
    steppingContract(check);
    averagingContract(check);
    capturingContract(check);
    resumingContract(check);
    loadingContract(check);
    refusingContract(check);
    schedulingContract(check);
  });
}
