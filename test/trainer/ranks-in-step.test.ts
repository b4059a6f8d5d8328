import { describe, expect, it } from 'vitest';
import type { DataSource } from '../../src/index.ts';
import { Share } from '../../src/trainer/share.ts';
import { localRanks } from '../support/local-ranks.ts';
import { type Job, Line, type Rank, train } from '../support/ranked-training.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

/** Batches without a length, as many as are given. */
function stream(batches: number, length?: number): DataSource<readonly number[]> {
  return {
    ...(length === undefined ? {} : { length }),
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < batches; i++) yield [i, i + 1];
    },
  };
}

const messageOf = (rank: Rank | undefined): string =>
  String((rank?.error as Error | undefined)?.message);

function expectSameError(all: readonly Rank[], code: string, message: RegExp): void {
  for (const rank of all) {
    expect(rank.error).toMatchObject({ code });
    expect(messageOf(rank)).toBe(messageOf(all[0]));
    expect(messageOf(rank)).toMatch(message);
  }
}

describe('data that is not the same on all ranks', () => {
  const job: Job = { ranks: 2, checkpoints: [{}], trainer: { maxEpochs: 2 } };

  it.each([
    [5, 3, /At its batch 2, .*rank 0 has a whole batch; rank 1 has a whole batch, its last\./],
    [3, 5, /At its batch 2, .*rank 0 has a whole batch, its last; rank 1 has a whole batch\./],
    [2, 0, /At its batch 0, .*rank 0 has a whole batch; rank 1 has reached its end\./],
  ])('training data of %i and of %i batches is one error of all ranks', async (a, b, message) => {
    const fit = (rank: number) => ({ trainDataloaders: stream(rank === 0 ? a : b) as never });
    const all = await train({ ...job, fit });
    expectSameError(all, 'MISCONFIGURATION', message);
    expect(messageOf(all[0])).toContain('same training data');
  });

  it('so is data that ends before its length on one rank', async () => {
    const fit = (rank: number) => ({ trainDataloaders: stream(5 - rank, 5) as never });
    const message = /At its batch 4, .*rank 0 has a whole batch, its last; rank 1 has reached its/;
    expectSameError(await train({ ...job, fit }), 'MISCONFIGURATION', message);
  });

  it('data that ends before its length on every rank ends the epoch, as in one process', async () => {
    const fit = () => ({ trainDataloaders: stream(3, 5) as never });
    const steps = async (ranks: number): Promise<readonly unknown[]> =>
      (await train({ ...job, ranks, fit })).map(
        ({ error, trainer }) => error ?? trainer.globalStep,
      );
    expect(await steps(2)).toEqual([6, 6]);
    expect(await steps(1)).toEqual([6]);
  });

  it('shares that do not make up a batch are an error of all ranks', async () => {
    const source = (rank: number): DataSource => ({
      length: 1,
      *[Symbol.iterator]() {
        yield [1, 2];
      },
      shard: () => [new Share([1], rank === 0 ? 0.5 : 0.25)],
    });
    const fit = (rank: number) => ({ trainDataloaders: source(rank) as never });
    const message = /rank 0 has 0.5 of a batch, its last; rank 1 has 0.25 of a batch, its last/;
    expectSameError(await train({ ...job, fit }), 'MISCONFIGURATION', message);
  });

  it('empty data is an error of all ranks', async () => {
    const fit = () => ({ trainDataloaders: stream(0) as never });
    expectSameError(await train({ ...job, fit }), 'MISCONFIGURATION', /training data is empty/);
  });

  it.each(['fit', 'validate'] as const)('validation data of other lengths, in %s', async (call) => {
    const valDataloaders = (rank: number) => stream(3 + rank) as never;
    const message =
      /validation data\. At its batch 2, .*rank 0 has .*, its last; rank 1 has a whole/;
    if (call === 'fit') {
      const fit = (rank: number) => ({ valDataloaders: valDataloaders(rank) });
      const trainer = { numSanityValSteps: 0 };
      expectSameError(await train({ ...job, trainer, fit }), 'MISCONFIGURATION', message);
      return;
    }
    const errors = await Promise.all(
      localRanks(2).map(async (strategy) => {
        const dataloaders = valDataloaders(strategy.rank);
        const trainer = quietTrainer({ strategy });
        return await trainer.validate(new Line(), { dataloaders }).catch((error) => error);
      }),
    );
    expect(errors.map(({ code }) => code)).toEqual(['MISCONFIGURATION', 'MISCONFIGURATION']);
    expect(errors[1].message).toMatch(message);
  });
});
