import fc from 'fast-check';
import { expect, it } from 'vitest';
import { DataLoader, type DataSource } from '../../src/index.ts';
import { partOf, type Share } from '../../src/trainer/share.ts';

const ranks = fc.integer({ min: 1, max: 40 });
const size = fc.integer({ min: 1, max: 200 });

it('every item of a batch is one rank’s, in order, as evenly as can be', () => {
  fc.assert(
    fc.property(size, ranks, (length, worldSize) => {
      const items = new Uint32Array(length).map((_, i) => i * 3);
      const parts = Array.from({ length: worldSize }, (_, rank) => partOf(items, rank, worldSize));
      const counted = parts.filter(({ weight }) => weight > 0);
      expect(counted.flatMap((part) => [...part.items])).toEqual([...items]);
      const sizes = counted.map((part) => part.items.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      const total = parts.reduce((sum, { weight }) => sum + weight, 0);
      expect(total).toBeCloseTo(1, 12);
      // The others look at an item of the batch, and it does not count.
      for (const part of parts) expect(part.items.length).toBeGreaterThan(0);
      expect(parts[0]?.weight).toBeGreaterThan(0);
    }),
  );
});

it('the shards of a loader give its batches, epoch for epoch, in as many steps', async () => {
  await fc.assert(
    fc.asyncProperty(
      size,
      size,
      ranks,
      fc.boolean(),
      async (items, batchSize, worldSize, shuffle) => {
        const data = Array.from({ length: items }, (_, i) => i);
        const make = () => new DataLoader(data, { batchSize, shuffle, seed: 11 });
        const loaders = Array.from({ length: worldSize }, make);
        const shards = loaders.map((loader, rank) => loader.shard(rank, worldSize));
        const whole = make();
        for (let epoch = 0; epoch < 2; epoch++) {
          const batches = await batchesOf(whole);
          const shares = await Promise.all(
            shards.map((shard) => batchesOf<Share<number[]>>(shard)),
          );
          for (const shard of shares) expect(shard).toHaveLength(batches.length);
          for (const [i, batch] of batches.entries()) {
            const parts = shares.map((shard) => shard[i]).filter((part) => part!.weight > 0);
            expect(parts.flatMap((part) => part!.batch)).toEqual(batch);
          }
        }
        for (const shard of shards) expect(shard.length).toBe(whole.length);
      },
    ),
    { numRuns: 40 },
  );
});

it('another number of ranks goes on at the same batch', async () => {
  const make = () => new DataLoader([...'abcdefghijklm'], { batchSize: 4, shuffle: true, seed: 2 });
  const [first, second] = [make(), make()];
  const cut = first.shard(1, 2) as AsyncIterable<Share<string[]>>;
  for await (const _ of cut) break;
  // A loader that is left early is at the next epoch, unless it is told where to go on.
  const state = { ...first.stateDict(), epoch: 0, batchesServed: 1 };
  const shards = [second.shard(0, 3), make().shard(1, 3), make().shard(2, 3)];
  for (const shard of shards) shard.loadStateDict?.(state);
  const rest = await Promise.all(shards.map((shard) => batchesOf<Share<string[]>>(shard)));
  const batches = (await batchesOf(make())).slice(1);
  for (const [i, batch] of batches.entries()) {
    const parts = rest.map((shard) => shard[i]!).filter(({ weight }) => weight > 0);
    expect(parts.flatMap((part) => part.batch)).toEqual(batch);
  }
});

async function batchesOf<Batch>(source: DataSource<Batch>): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of source) batches.push(batch);
  return batches;
}
