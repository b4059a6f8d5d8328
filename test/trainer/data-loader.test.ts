import fc from 'fast-check';
import { describe, expect, expectTypeOf, it } from 'vitest';
import { MisconfigurationError } from '../../src/errors.ts';
import { DataLoader, type DataLoaderOptions } from '../../src/trainer/data-loader.ts';
import type { DataSource } from '../../src/trainer/data-source.ts';

const numbers = (count: number) => Array.from({ length: count }, (_, i) => i);

async function epochOf<Batch>(source: AsyncIterable<Batch>, most = Number.POSITIVE_INFINITY) {
  const batches: Batch[] = [];
  if (most === 0) return batches;
  for await (const batch of source) {
    batches.push(batch);
    if (batches.length === most) break;
  }
  return batches;
}

const setups = fc.record({
  items: fc.nat(40),
  batchSize: fc.integer({ min: 1, max: 12 }),
  shuffle: fc.boolean(),
  dropLast: fc.boolean(),
  seed: fc.maxSafeNat(),
});
const loaderOf = ({ items, ...options }: { items: number } & DataLoaderOptions<number, number[]>) =>
  new DataLoader(numbers(items), options);

describe('DataLoader', () => {
  it('serves every item exactly once per epoch, the last batch smaller or left out', async () => {
    await fc.assert(
      fc.asyncProperty(setups, async (setup) => {
        const loader = loaderOf(setup);
        const batches = await epochOf(loader);
        expect(batches).toHaveLength(loader.length);
        const served = batches.flat().sort((a, b) => a - b);
        expect(new Set(served).size).toBe(served.length);
        expect(setup.items - served.length).toBe(
          setup.dropLast ? setup.items % setup.batchSize : 0,
        );
        expect(batches.slice(0, -1).every((batch) => batch.length === setup.batchSize)).toBe(true);
      }),
    );
  });

  it('goes on from a state read between any two batches with exactly the rest', async () => {
    await fc.assert(
      fc.asyncProperty(setups, fc.nat(40), fc.nat(3), async (setup, most, epoch) => {
        const whole = loaderOf(setup);
        whole.setEpoch(epoch);
        const interrupted = loaderOf(setup);
        interrupted.setEpoch(epoch);
        let state = interrupted.stateDict();
        const before: number[][] = [];
        for await (const batch of interrupted) {
          if (before.length === most) break;
          before.push(batch);
          state = interrupted.stateDict();
        }
        const resumed = loaderOf(setup);
        resumed.loadStateDict(JSON.parse(JSON.stringify(state)));
        expect(resumed.stateDict()).toEqual(state);
        expect([...before, ...(await epochOf(resumed))]).toEqual(await epochOf(whole));
        expect(resumed.stateDict()).toEqual(whole.stateDict());
        expect(await epochOf(resumed)).toEqual(await epochOf(whole));
      }),
    );
  });

  it('shuffles by seed and epoch alone', async () => {
    const options = { batchSize: 7, shuffle: true, seed: 5 };
    const one = new DataLoader(numbers(50), options);
    const two = new DataLoader(numbers(50), options);
    const epochs = [await epochOf(one), await epochOf(one), await epochOf(one)];
    two.setEpoch(2);
    expect(await epochOf(two)).toEqual(epochs[2]);
    two.setEpoch(0);
    expect(await epochOf(two)).toEqual(epochs[0]);
    expect(new Set(epochs.map(String)).size).toBe(3);
    const other = new DataLoader(numbers(50), { ...options, seed: 6 });
    expect(await epochOf(other)).not.toEqual(epochs[0]);
    const unseeded = () => epochOf(new DataLoader(numbers(50), { shuffle: true }));
    expect(await unseeded()).toEqual(await unseeded());
  });

  it('serves by index in every epoch without shuffle', async () => {
    const loader = new DataLoader(['a', 'b', 'c'], { batchSize: 2 });
    expect(await epochOf(loader)).toEqual([['a', 'b'], ['c']]);
    expect(await epochOf(loader)).toEqual([['a', 'b'], ['c']]);
  });

  it('moves on to the next epoch when an iteration ends or is left early', async () => {
    const loader = new DataLoader(numbers(10), { batchSize: 2 });
    await epochOf(loader);
    expect(loader.stateDict()).toMatchObject({ epoch: 1, batchesServed: 0 });
    expect(await epochOf(loader, 2)).toEqual([
      [0, 1],
      [2, 3],
    ]);
    expect(loader.stateDict()).toMatchObject({ epoch: 2, batchesServed: 0 });
    expect((await epochOf(loader))[0]).toEqual([0, 1]);
  });

  it('starts over when an iteration was abandoned without a word', async () => {
    const loader = new DataLoader(numbers(4));
    await loader[Symbol.asyncIterator]().next();
    expect((await epochOf(loader))[0]).toEqual([0]);
  });

  it('keeps a loaded position when it is told the same epoch, and drops it for another', async () => {
    const state = { ...new DataLoader(numbers(4)).stateDict(), epoch: 3, batchesServed: 2 };
    const loader = new DataLoader(numbers(4));
    loader.loadStateDict(state);
    loader.setEpoch(3);
    expect(await epochOf(loader)).toEqual([[2], [3]]);
    loader.loadStateDict(state);
    loader.setEpoch(4);
    expect(await epochOf(loader)).toHaveLength(4);
    expect(loader.stateDict()).toMatchObject({ epoch: 5, batchesServed: 0 });
  });

  it('serves nothing after an epoch that was stored as done, then goes on with the next', async () => {
    const loader = new DataLoader(numbers(4));
    loader.loadStateDict({ ...loader.stateDict(), epoch: 1, batchesServed: 4 });
    expect(await epochOf(loader)).toEqual([]);
    expect(loader.stateDict()).toMatchObject({ epoch: 2, batchesServed: 0 });
    expect(await epochOf(loader)).toHaveLength(4);
  });

  it('lets a choice made inside an iteration stand when that iteration is left', async () => {
    const loader = new DataLoader(numbers(4));
    for await (const _ of loader) {
      loader.setEpoch(7);
      break;
    }
    expect(loader.stateDict().epoch).toBe(7);
    for await (const _ of loader) {
      loader.loadStateDict({ ...loader.stateDict(), batchesServed: 3 });
      break;
    }
    expect(await epochOf(loader)).toEqual([[3]]);
  });

  it('builds batches by collate, sync or async, from items and indices', async () => {
    const loader = new DataLoader(['a', 'b', 'c'], {
      batchSize: 2,
      collate: async (items, indices) => `${items.join('')}:${indices.join('')}`,
    });
    expect(await epochOf(loader)).toEqual(['ab:01', 'c:2']);
    expectTypeOf(loader).toExtend<DataSource<string>>();
  });

  it('gets items one by one, sync or async, from a dataset that has get', async () => {
    const loader = new DataLoader({ length: 3, get: async (i) => i * 10 }, { batchSize: 2 });
    expect(await epochOf(loader)).toEqual([[0, 10], [20]]);
    expectTypeOf(loader).toExtend<DataSource<number[]>>();
  });

  it('leaves batches to a dataset that has batch', async () => {
    const pixels = Float32Array.of(1, 1, 2, 2, 3, 3);
    const loader = new DataLoader(
      {
        length: 3,
        batch: (rows) => Array.from(rows, (row) => pixels.subarray(row * 2, row * 2 + 2)),
      },
      { batchSize: 2 },
    );
    expect((await epochOf(loader)).map((rows) => rows.map((row) => [...row]))).toEqual([
      [
        [1, 1],
        [2, 2],
      ],
      [[3, 3]],
    ]);
    expectTypeOf(loader).toExtend<DataSource<Float32Array[]>>();
  });

  it('hands out indices that the callee may keep and write to', async () => {
    const kept: Uint32Array[] = [];
    const dataset = { length: 4, batch: (indices: Uint32Array) => kept.push(indices.fill(9)) };
    await epochOf(new DataLoader(dataset, { batchSize: 2 }));
    expect(new Set(kept.map((indices) => indices.buffer)).size).toBe(2);
    expect(kept.map((indices) => [...indices])).toEqual([
      [9, 9],
      [9, 9],
    ]);
  });

  it('ends the iteration with what the dataset throws', async () => {
    const loader = new DataLoader({
      length: 2,
      get: () => Promise.reject(new Error('no such row')),
    });
    await expect(epochOf(loader)).rejects.toThrow('no such row');
  });

  it('has length 0 and no batches without items', async () => {
    const loader = new DataLoader([], { shuffle: true });
    expect(loader.length).toBe(0);
    expect(await epochOf(loader)).toEqual([]);
    expect(new DataLoader([1, 2], { batchSize: 3, dropLast: true }).length).toBe(0);
  });

  it.each([
    [{ batchSize: 0 }, 'batchSize is 0, but it must be an integer from 1'],
    [{ batchSize: 1.5 }, 'batchSize is 1.5'],
    [{ seed: -1 }, 'seed is -1, but it must be an integer from 0'],
    [{ shuffle: 'yes' as never }, "shuffle is 'yes', but it must be true or false"],
    [{ dropLast: 1 as never }, 'dropLast is 1, but it must be true or false'],
    [{ collate: 1 as never }, 'collate is 1, but it must be a function'],
  ])('refuses the options %j', (options, message) => {
    expect(() => new DataLoader([1], options)).toThrow(MisconfigurationError);
    expect(() => new DataLoader([1], options)).toThrow(message);
  });

  it.each([null, undefined, 3, {}, { length: -1 }, { length: 0.5 }])(
    'refuses the dataset %j',
    (dataset) => {
      expect(() => new DataLoader(dataset as never)).toThrow('DataLoader: dataset.length is');
    },
  );

  it('refuses to collate batches of a dataset that has no items', () => {
    const dataset = { length: 1, batch: () => 1 };
    expect(() => new DataLoader(dataset, { collate: () => 1 })).toThrow('no items to collate');
  });

  it.each([
    [{ items: 11 }, 'items 11, but this one has items 10'],
    [{ batchSize: 3 }, 'batchSize 3, but this one has batchSize 2'],
    [{ dropLast: true }, 'dropLast true, but this one has dropLast false'],
    [{ shuffle: false }, 'shuffle false, but this one has shuffle true'],
    [{ seed: 4 }, 'seed 4, but this one has seed 0'],
    [{ batchesServed: 6 }, 'batchesServed is 6, but it must be at most 5'],
    [{ batchesServed: -1 }, 'must be like {"epoch":0,"batchesServed":0'],
    [{ epoch: 'x' }, 'must be like'],
  ])('refuses a state with %j and stays as it is', (change, message) => {
    const loader = new DataLoader(numbers(10), { batchSize: 2, shuffle: true });
    const before = loader.stateDict();
    expect(() => loader.loadStateDict({ ...before, ...change })).toThrow(MisconfigurationError);
    expect(() => loader.loadStateDict({ ...before, ...change })).toThrow(message);
    expect(loader.stateDict()).toEqual(before);
  });

  it('does not mind another seed when it does not shuffle', () => {
    const state = new DataLoader([1, 2], { seed: 1 }).stateDict();
    expect(() => new DataLoader([1, 2], { seed: 2 }).loadStateDict(state)).not.toThrow();
  });

  it.each([-1, 0.5, Number.NaN])('refuses the epoch %s', (epoch) => {
    expect(() => new DataLoader([1]).setEpoch(epoch)).toThrow(`epoch is ${epoch}`);
  });
});
