import assert from 'node:assert/strict';
import type { HighwaterError } from '../../errors.ts';
import type { Check } from './check.ts';

/** How ranks come together, and what goes on meanwhile. */
export function meetingContract(check: Check): void {
  check('knows its rank, how many there are, and who is rank 0', async (strategy) => {
    const { rank, worldSize, isGlobalZero } = strategy;
    assert.ok(Number.isSafeInteger(worldSize) && worldSize >= 1);
    assert.ok(Number.isSafeInteger(rank) && rank >= 0 && rank < worldSize);
    assert.equal(isGlobalZero, rank === 0);
    const all = Array.from({ length: worldSize }, (_, i) => i);
    assert.deepEqual(await strategy.gather(rank), all);
  });
  check('may be set up again: it has joined already', async (strategy) => {
    await strategy.setup();
    await strategy.barrier();
  });
  check('lets nobody pass a barrier before all are there', async (strategy) => {
    const { rank, worldSize } = strategy;
    for (let late = 0; late < Math.min(worldSize, 4); late++) {
      if (rank === late) await new Promise((resolve) => setTimeout(resolve, 20));
      const arrivedMs = Date.now();
      await strategy.barrier();
      const passedMs = Date.now();
      const arrivals = (await strategy.gather(arrivedMs)) as readonly number[];
      assert.ok(passedMs >= Math.max(...arrivals), 'it passed before the last had arrived');
    }
  });
  check('carries out calls that overlap one after the other', async (strategy) => {
    const { rank, worldSize } = strategy;
    const bucket = new Float32Array(10_000).fill(rank);
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 20; i++) {
      calls.push(strategy.broadcast(i + rank), strategy.reduceBoolean(rank === i, 'any'));
      calls.push(strategy.gather(i), strategy.barrier());
    }
    calls.push(strategy.reduceGradients([bucket]));
    const results = await Promise.all(calls);
    for (let i = 0; i < 20; i++) {
      const [told, isAny, all] = results.slice(i * 4);
      assert.equal(told, i);
      assert.equal(isAny, i < worldSize);
      assert.deepEqual(all, new Array(worldSize).fill(i));
    }
    assert.equal(bucket[9_999], (worldSize * (worldSize - 1)) / 2);
  });
  check('lets nothing come between the parts of one call', async (strategy) => {
    const { rank, worldSize } = strategy;
    const long = (of: number): string => `${of}`.repeat(50_000);
    const all = Array.from({ length: worldSize }, (_, i) => i);
    const buckets = [Float32Array.of(1), Float64Array.of(1)];
    const messages = [
      [() => strategy.gather(long(rank)), all.map(long)],
      [() => strategy.broadcast(long(rank)), long(0)],
      [() => strategy.reduceGradients(buckets), undefined],
    ] as const;
    for (const [send, expected] of messages) {
      const sent = send();
      // Where it has crossed in parts, this rank's next call comes after them, and that of the others before.
      if (rank === worldSize - 1) await new Promise((resolve) => setTimeout(resolve, 20));
      const reduced = strategy.reduce([1], 'sum');
      assert.deepEqual(await sent, expected);
      assert.deepEqual(await reduced, [worldSize]);
    }
  });
  check('refuses on every rank what they do not call alike, and then goes on', async (strategy) => {
    const { isGlobalZero, worldSize } = strategy;
    if (worldSize === 1) return;
    const cases: readonly [() => Promise<unknown>, () => Promise<unknown>, RegExp[]][] = [
      [() => strategy.barrier(), () => strategy.gather(1), [/barrier/, /gather/]],
      [() => strategy.broadcast(1), () => strategy.reduce([1], 'sum'), [/broadcast/, /reduce/]],
      [() => strategy.reduce([1], 'sum'), () => strategy.reduce([1], 'max'), [/sum/, /max/]],
      [
        () => strategy.reduceGradients([new Float32Array(12)]),
        () => strategy.reduceGradients([new Float32Array(345)]),
        [/\b12\b/, /\b345\b/],
      ],
      [
        () => strategy.broadcastTensor(new Uint8Array(12)),
        () => strategy.broadcastTensor(new Uint8Array(345)),
        [/\b12\b/, /\b345\b/],
      ],
    ];
    for (const [onZero, onOthers, names] of cases) {
      await assert.rejects(isGlobalZero ? onZero : onOthers, (error: HighwaterError) => {
        assert.equal(error.code, 'STRATEGY_FAILED');
        for (const name of names) assert.match(error.message, name);
        return true;
      });
      assert.deepEqual(await strategy.reduce([1], 'sum'), [worldSize]);
    }
  });
  check('lets timers run while it waits for another rank', async (strategy) => {
    const { rank, worldSize } = strategy;
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    if (rank === worldSize - 1) await new Promise((resolve) => setTimeout(resolve, 200));
    await strategy.barrier();
    clearInterval(timer);
    assert.ok(worldSize === 1 || ticks > 0, 'no timer ran');
  });
}
