import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Callback,
  DataLoader,
  type DataSource,
  type Logger,
  ModelCheckpoint,
  memoryFiles,
  type Storage,
  StorageError,
  type Trainer,
} from '../../src/index.ts';
import type { CheckpointHost } from '../../src/trainer/checkpointing.ts';
import { Share } from '../../src/trainer/share.ts';
import { localRanks } from '../support/local-ranks.ts';
import { type Job, Line, namesIn, type Rank, train } from '../support/ranked-training.ts';
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

describe('what rank 0 alone runs', () => {
  /** Calls back whenever the Trainer calls it. */
  const calling = (back: () => Promise<unknown>, delayMs = 0): Logger => {
    const method = async (): Promise<void> => {
      await sleep(delayMs);
      await back();
    };
    return {
      saveDir: '/c',
      name: '',
      version: 'run',
      setup: method,
      logMetrics: method,
      afterSaveCheckpoint: method,
      save: method,
      finalize: method,
    };
  };

  it.each([0, 7])(
    'may flush and look for files without the others, also behind training (for %i ms)',
    async (delayMs) => {
      let trainer: Trainer | undefined;
      let checkpoint: ModelCheckpoint | undefined;
      const answers: unknown[] = [];
      const logger = calling(async () => {
        await trainer?.flush();
        await checkpoint?.flush();
        if (trainer?.stage === 'fit' && checkpoint?.lastModelPath)
          answers.push(await checkpoint.fileExists('/c/absent', trainer));
      }, delayMs);
      const all = await train({
        ranks: 2,
        checkpoints: [{ everyNTrainSteps: 1, saveTopK: -1, saveLast: true }],
        trainer: { logger, logEveryNSteps: 1, maxEpochs: 2 },
        callbacks: (rank, [own]) => [
          {
            setup: (given) => {
              if (rank !== 0) return;
              trainer = given;
              checkpoint = own;
            },
            // Flushes on all ranks meet while those of the logger go on.
            onTrainBatchEnd: (given) => given.flush(),
          },
        ],
      });
      expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
      expect(answers.length).toBeGreaterThan(20);
      expect(new Set(answers)).toEqual(new Set([false]));
      expect(all[1]?.checkpoints[0]?.stateDict()).toEqual(all[0]?.checkpoints[0]?.stateDict());
    },
  );

  it.each(['file', 'callback'] as const)(
    'cannot save: that is an error of all ranks (a %s)',
    async (kind) => {
      let save: (() => Promise<void>) | undefined;
      const all = await train({
        ranks: 2,
        checkpoints: [{ everyNTrainSteps: 1, saveTopK: -1 }],
        trainer: {
          logger: {
            ...calling(async () => undefined),
            afterSaveCheckpoint: async () => await save?.(),
          },
        },
        callbacks: (rank, [checkpoint]) => [
          {
            setup: (trainer) => {
              if (rank !== 0) return;
              save = () =>
                kind === 'file'
                  ? trainer.saveCheckpoint('/c/mine.ckpt')
                  : checkpoint!.saveCheckpoint(trainer);
            },
          },
        ],
      });
      expectSameError(all, 'MISCONFIGURATION', /what rank 0 alone runs.* needs all ranks/);
    },
  );

  it('prepareData may flush: it runs on rank 0 while the others wait for its end', async () => {
    let prepared = 0;
    class Preparing extends Line {
      override async prepareData(): Promise<void> {
        prepared++;
        await (this.trainer as Trainer).flush();
      }
    }
    const all = await train({ ranks: 2, trainer: { maxEpochs: 1 }, module: () => new Preparing() });
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(prepared).toBe(1);
  });
});

it('a checkpoint callback may flush while it decides, though rank 0 decides first', async () => {
  class Flushing extends ModelCheckpoint {
    override async onTrainBatchEnd(trainer: CheckpointHost): Promise<void> {
      await super.onTrainBatchEnd(trainer);
      await this.flush();
    }
  }
  const own = [0, 1].map(() => new Flushing({ dirpath: '/c', everyNTrainSteps: 2, saveTopK: -1 }));
  const storage = memoryFiles();
  const callbacks = (rank: number) => [own[rank]!];
  const all = await train({ ranks: 2, storage, checkpoints: [], callbacks });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(await namesIn(storage)).toHaveLength(7);
  expect(own[1]?.stateDict()).toEqual(own[0]?.stateDict());
});

describe('an error on one rank while all end with another', () => {
  class Failing extends ModelCheckpoint {
    override async onException(): Promise<void> {
      throw new RangeError('this rank alone');
    }
  }
  const fullDisk = (): Storage => ({
    ...memoryFiles(),
    writer: async (path) => {
      throw new StorageError('NoSpace', path, `No space for '${path}'.`);
    },
  });
  const meeting = (alone: boolean): Callback => ({
    onException: async (trainer) => {
      if (alone) throw new RangeError('this rank alone');
      await trainer.saveCheckpoint('/c/mine.ckpt');
    },
  });

  it.each([
    ['a checkpoint callback', 1],
    ['a callback that saves', 1],
    ['a callback that saves', 0],
  ])('ends the job, in %s on rank %i: the others do not wait for it', async (kind, failing) => {
    const all = await train({
      ranks: 2,
      storage: fullDisk(),
      checkpoints: kind === 'a checkpoint callback' ? [] : [{ everyNTrainSteps: 1 }],
      callbacks: (rank) => {
        if (kind !== 'a checkpoint callback') return [meeting(rank === failing)];
        const options = { dirpath: '/c', everyNTrainSteps: 1 };
        return [rank === failing ? new Failing(options) : new ModelCheckpoint(options)];
      },
    });
    const { error } = all[failing] as Rank;
    expect(error).toBeInstanceOf(AggregateError);
    const { errors } = error as AggregateError;
    expect(errors.map(({ code }) => code)).toEqual(['SAVE_FAILED', 'HOOK_FAILED']);
    expect(errors[1].message).toMatch(/onException failed .* this rank alone/);
    expect(all[1 - failing]?.error).toBeDefined();
  });

  it.each(['fit', 'validate'] as const)(
    'a hook for errors may save or flush though only its rank has one before %s',
    async (call) => {
      const calls: string[] = [];
      const errors = await Promise.all(
        localRanks(2).map(async (strategy) => {
          const trainer = quietTrainer({
            strategy,
            callbacks: [
              {
                setup: () => {
                  if (strategy.rank === 1) throw new RangeError('this rank alone');
                },
                onException: async (given) => {
                  calls.push(`${strategy.rank}`);
                  await given.flush();
                  calls.push(`${strategy.rank} again`);
                },
              },
            ],
          });
          const data = new DataLoader([1, 2]);
          const options = { trainDataloaders: data, dataloaders: data } as object;
          return await trainer[call](new Line(), options).catch((error) => error);
        }),
      );
      expect(errors[1]).toMatchObject({ code: 'HOOK_FAILED' });
      expect(errors[0]).toBe(errors[1]);
      expect(calls.slice(0, 2)).toEqual(['1', '1 again']);
    },
  );
});
