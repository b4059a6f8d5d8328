import assert from 'node:assert/strict';
import type { JsonValue } from '../../format/json.ts';
import type { Check } from './check.ts';

/** Values that JSON alone would not carry, or that do not fit in a first message. */
const VALUES: readonly JsonValue[] = [
  null,
  false,
  '',
  'ünïcödé 🌊',
  [],
  {},
  [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e-300],
  { nested: [{ deeper: { value: 1 } }], 'a.b': 'x' },
  'x'.repeat(4_091),
  'x'.repeat(4_092),
  'x'.repeat(4_093),
  'x'.repeat(1_000_000),
];

/** Values that one rank tells all, or that all tell each other. */
export function tellingContract(check: Check): void {
  check('gives every rank the value of rank 0, whatever the others give', async (strategy) => {
    for (const value of VALUES) {
      const given = strategy.isGlobalZero ? value : 'x'.repeat(strategy.rank * 5_000);
      assert.deepEqual(await strategy.broadcast(given), value);
    }
  });
  check(
    'gives every rank the bytes of rank 0, of any size, and no byte beside them',
    async (strategy) => {
      for (const size of [0, 1, 7, 4096, 1_000_003]) {
        const around = new Uint8Array(size + 2).fill(strategy.isGlobalZero ? 1 : 2);
        await strategy.broadcastTensor(around.subarray(1, size + 1));
        const expected = new Uint8Array(size + 2).fill(1);
        expected[0] = expected[size + 1] = strategy.isGlobalZero ? 1 : 2;
        assert.deepEqual(around, expected);
      }
    },
  );
  check('gathers the values of all ranks, in their order, of any size', async (strategy) => {
    const all = Array.from({ length: strategy.worldSize }, (_, rank) => rank);
    assert.deepEqual(await strategy.gather(strategy.rank), all);
    const long = (rank: number): JsonValue => ({ rank, text: 'é'.repeat(rank * 2_000) });
    assert.deepEqual(await strategy.gather(long(strategy.rank)), all.map(long));
    for (const value of VALUES) {
      const given = strategy.rank === strategy.worldSize - 1 ? value : null;
      const expected = all.map((rank) => (rank === strategy.worldSize - 1 ? value : null));
      assert.deepEqual(await strategy.gather(given), expected);
    }
  });
}
