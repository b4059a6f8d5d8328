import assert from 'node:assert/strict';
import type { NumberBuffer } from '../../strategies/strategy.ts';
import { type Check, noise } from './check.ts';

/** Numbers that become one. */
export function reducingContract(check: Check): void {
  check('adds up gradients in place, each dtype in its own precision', async (strategy) => {
    const { rank, worldSize } = strategy;
    const length = 100_003;
    const fill = <Buffer extends NumberBuffer>(buffer: Buffer, of: number): Buffer => {
      for (let i = 0; i < buffer.length; i++) buffer[i] = noise(of, i) - 0.5;
      return buffer;
    };
    const single = new Float32Array(length + 2);
    const double = new Float64Array(length);
    fill(single.subarray(1, length + 1), rank);
    fill(double, rank);
    await strategy.reduceGradients([single.subarray(1, length + 1), double]);
    assert.equal(single[0], 0);
    assert.equal(single[length + 1], 0);
    for (let i = 0; i < length; i += 97) {
      const parts = Array.from({ length: worldSize }, (_, r) => noise(r, i) - 0.5);
      const sum = parts.reduce((a, b) => a + b, 0);
      assert.ok(Math.abs((double[i] ?? 0) - sum) <= 1e-12 * worldSize, `double ${i}`);
      assert.ok(Math.abs((single[i + 1] ?? 0) - sum) <= 1e-6 * worldSize, `single ${i}`);
    }
  });
  check('leaves the same bits on every rank', async (strategy) => {
    for (const length of [1, 1_000, 300_000]) {
      const bucket = Float32Array.from({ length }, (_, i) => noise(strategy.rank, i) - 0.5);
      await strategy.reduceGradients([bucket]);
      const bits = new Uint32Array(bucket.buffer);
      const hash = bits.reduce((sum, word) => (Math.imul(sum, 31) + word) | 0, 0);
      const all = await strategy.gather(hash);
      assert.deepEqual(new Set(all), new Set([hash]));
    }
  });
  check('adds up nothing', async (strategy) => {
    await strategy.reduceGradients([]);
    await strategy.reduceGradients([new Float32Array(0), new Float64Array(0)]);
  });
  check('says whether something is true on any rank, and on all', async (strategy) => {
    const { rank, worldSize } = strategy;
    const isLast = rank === worldSize - 1;
    assert.equal(await strategy.reduceBoolean(true, 'all'), true);
    assert.equal(await strategy.reduceBoolean(false, 'any'), false);
    assert.equal(await strategy.reduceBoolean(isLast, 'any'), true);
    assert.equal(await strategy.reduceBoolean(!isLast, 'all'), false);
  });
  check('reduces numbers element by element, and leaves the given ones alone', async (strategy) => {
    const { rank, worldSize } = strategy;
    const given = [rank, -rank, 0.5];
    const last = worldSize - 1;
    const sum = (last * worldSize) / 2;
    assert.deepEqual((await strategy.reduce(given, 'sum')).map(plain), [
      sum,
      plain(-sum),
      worldSize / 2,
    ]);
    assert.deepEqual((await strategy.reduce(given, 'max')).map(plain), [last, 0, 0.5]);
    assert.deepEqual((await strategy.reduce(given, 'min')).map(plain), [0, plain(-last), 0.5]);
    assert.deepEqual(given, [rank, -rank, 0.5]);
    assert.ok(Number.isNaN((await strategy.reduce([rank === last ? Number.NaN : 1], 'sum'))[0]));
  });
}

/** Without the sign of a zero. */
function plain(value: number): number {
  return value + 0;
}
