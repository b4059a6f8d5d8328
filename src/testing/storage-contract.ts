import { changingContract } from './storage-contract/changing.ts';
import type { Check, StorageUnderTest } from './storage-contract/check.ts';
import { linkingContract } from './storage-contract/linking.ts';
import { readingContract } from './storage-contract/reading.ts';
import { writingContract } from './storage-contract/writing.ts';
import type { TestRunner } from './test-runner.ts';

export type { StorageUnderTest } from './storage-contract/check.ts';

/**
 * The suite that every `Storage` must pass, ours or yours:
 *
 * ```ts
 * import { describe, it } from 'node:test';
 * storageContract('mine', async () => ({ storage: myFiles(), root: '/tmp/mine' }), { describe, it });
 * ```
 *
 * It uses `node:assert`, so any test runner will do. What it cannot see is durability: pull the plug.
 *
 * @param make called once for each test.
 */
export function storageContract(
  name: string,
  make: () => Promise<StorageUnderTest>,
  { describe, it }: TestRunner,
): void {
  const check: Check = (sentence, body) =>
    it(sentence, async () => {
      const made = await make();
      try {
        await body(made);
      } finally {
        await made.dispose?.();
      }
    });
  describe(`${name} keeps the storage contract:`, () => {
    writingContract(check);
    readingContract(check);
    linkingContract(check);
    changingContract(check);
  });
}
