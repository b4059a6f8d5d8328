import { describe, it } from 'vitest';
import { singleStrategy } from '../../src/strategies/single.ts';
import { strategyContract } from '../../src/testing/strategy-contract.ts';
import { localRanks } from '../support/local-ranks.ts';

strategyContract('singleStrategy', () => ({ ranks: [singleStrategy()] }), { describe, it });
// What the tests of the Trainer run on.
for (const size of [1, 2, 3]) {
  strategyContract(`localRanks(${size})`, () => ({ ranks: localRanks(size) }), { describe, it });
}
