/** One rank of a job that runs the strategy contract, and prints what passed. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mpiStrategy } from '../../src/strategies/mpi/index.ts';
import { strategyContract } from '../../src/testing/strategy-contract.ts';

const strategy = mpiStrategy({ library: process.env.LIBRARY });
const tests: [string, () => Promise<void>][] = [];
strategyContract(strategy.name, () => ({ ranks: [strategy] }), {
  describe: (_name, body) => body(),
  it: (sentence, body) => tests.push([sentence, body]),
});
let passed = 0;
for (const [sentence, body] of tests) {
  try {
    await body();
    passed++;
  } catch (error) {
    console.log(`rank ${strategy.rank} failed: ${sentence}:`, error);
    throw error;
  }
}
const result = { name: strategy.name, passed, of: tests.length };
writeFileSync(join(process.env.RESULTS ?? '', `${strategy.rank}.json`), JSON.stringify(result));
