import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Callback,
  DataLoader,
  type DataSource,
  EarlyStopping,
  type Logger,
  ModelCheckpoint,
  memoryFiles,
  type Storage,
  StorageError,
  type Trainer,
} from '../../src/index.ts';
import type { CheckpointHost } from '../../src/trainer/checkpointing.ts';
import { Share } from '../../src/trainer/share.ts';
import type { LossAndGradients } from '../support/array-module.ts';
import { localRanks } from '../support/local-ranks.ts';
import {
  type Job,
  Line,
  namesIn,
  type Rank,
  train,
  weightsOf,
} from '../support/ranked-training.ts';
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

  it.each([0, 1])(
    'so is data that rank %i alone divides, though the shares add up',
    async (rank) => {
      const source = (shards: boolean): DataSource => ({
        length: 1,
        *[Symbol.iterator]() {
          yield [1, 2];
        },
        ...(shards && { shard: () => [new Share([1], 0.5)] }),
      });
      const fit = (own: number) => ({ trainDataloaders: source(own === rank) as never });
      const message = [
        /rank 0 has 0.5 of a batch, its last; rank 1 has a whole batch, its last/,
        /rank 0 has a whole batch, its last; rank 1 has 0.5 of a batch, its last/,
      ][rank] as RegExp;
      expectSameError(await train({ ...job, fit }), 'MISCONFIGURATION', message);
    },
  );

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
    readonly #fails: boolean;
    constructor(fails: boolean) {
      super({ dirpath: '/c', everyNTrainSteps: 1 });
      this.#fails = fails;
    }
    override async onException(trainer: CheckpointHost): Promise<void> {
      if (this.#fails) throw new RangeError('this rank alone');
      await super.onException(trainer);
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
        return [new Failing(rank === failing)];
      },
    });
    const { error } = all[failing] as Rank;
    expect(error).toBeInstanceOf(AggregateError);
    const { errors } = error as AggregateError;
    expect(errors.map(({ code }) => code)).toEqual(['SAVE_FAILED', 'HOOK_FAILED']);
    expect(errors[1].message).toMatch(/onException failed .* this rank alone/);
    expect(all[1 - failing]?.error).toBeDefined();
  });

  it('a hook for errors may flush though only its rank has one, before training', async () => {
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
        const options = { trainDataloaders: new DataLoader([1, 2]) as never };
        return await trainer.fit(new Line(), options).catch((error) => error);
      }),
    );
    expect(errors[1]).toMatchObject({ code: 'HOOK_FAILED' });
    expect(errors[0]).toBe(errors[1]);
    expect(calls.slice(0, 2)).toEqual(['1', '1 again']);
  });
});

describe('ranks that are not given the same', () => {
  it.each<[string, (rank: number) => Partial<Job>, RegExp]>([
    [
      'an option',
      (rank) => ({ trainer: { maxEpochs: 2 + rank } }),
      /rank 0 has maxEpochs 2, and rank 1 has maxEpochs 3/,
    ],
    [
      'a callback that saves, on rank 0 alone',
      (rank) => ({ checkpoints: rank === 0 ? [{}, { everyNTrainSteps: 2 }] : [{}] }),
      /rank 0 has callbacks .*everyNTrainSteps\\":2.*, and rank 1 has callbacks/,
    ],
    [
      'an option of such a callback',
      (rank) => ({ checkpoints: [{ saveTopK: rank }] }),
      /rank 0 has ModelCheckpoint.saveTopK \(callback 0\) 0, and rank 1 has .* 1\./,
    ],
    [
      'an option of a callback that judges',
      (rank) => ({
        callbacks: () => [new EarlyStopping({ monitor: 'val', patience: 3 + rank })],
      }),
      /rank 0 has EarlyStopping.patience \(callback 1\) 3, and rank 1 has .* 4\./,
    ],
    [
      'another order of the data',
      (rank) => ({ fit: () => ({ trainDataloaders: loader(rank) }) }),
      /rank 0 has training data .*"seed":0.*, and rank 1 has .*"seed":1/,
    ],
  ])('%s: an error of all ranks, before training', async (_, given, message) => {
    expectSameError(await trainUnlike(given), 'MISCONFIGURATION', message);
  });

  const loader = (seed: number) => new DataLoader([1, 2, 3, 4], { shuffle: true, seed }) as never;

  it('may differ in what rank 0 alone uses', async () => {
    const all = await trainUnlike((rank) => ({
      trainer: { maxEpochs: 1, logEveryNSteps: rank, asyncSave: rank === 0, maxWaitingSaves: rank },
    }));
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  });

  it('a callback that decides otherwise on one rank ends the job', async () => {
    /** Its options are the same, but it sees to it that rank 1 keeps none. */
    class Choosy extends ModelCheckpoint {
      override async onTrainBatchEnd(trainer: CheckpointHost): Promise<void> {
        if ((trainer as Trainer).isGlobalZero) await super.onTrainBatchEnd(trainer);
      }
    }
    const all = await trainUnlike(() => ({
      callbacks: () => [new Choosy({ dirpath: '/c', everyNTrainSteps: 1, saveTopK: -1 })],
    }));
    const message =
      /This rank has decided otherwise than rank 0: \[\[.*, not .*epoch=0-step=1.ckpt.*same callbacks/;
    expect(messageOf(all[1])).toMatch(message);
    expect(messageOf(all[0])).toMatch(message);
  });

  it('the folder that is given to rank 0 is that of every rank', async () => {
    const all = await trainUnlike((rank) => ({ checkpoints: [{ dirpath: `/c/${rank}` }] }));
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
    for (const { checkpoints } of all) expect(checkpoints[0]?.bestModelPath).toMatch(/^\/c\/0\//);
    expect(all[1]?.checkpoints[0]?.stateDict()).toEqual(all[0]?.checkpoints[0]?.stateDict());
  });

  it.each([undefined, 'last'])('rank 0 says whether a run is resumed (%s)', async (ckptPath) => {
    const storage = memoryFiles();
    const trainer = { maxEpochs: 1 };
    await train({ ranks: 2, storage, trainer });
    const all = await trainUnlike((rank) => ({
      storage,
      trainer: { maxEpochs: 2 },
      // As where a script looks for files of its own: what one rank sees, another may not.
      fit: () => ({
        ckptPath: rank === 0 ? ckptPath : ckptPath === undefined ? 'last' : undefined,
      }),
    }));
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
    expect(all.map(({ module }) => module.seen.length < 20)).toEqual(
      ckptPath === undefined ? [false, false] : [true, true],
    );
  });

  it.each([
    ['rank 0', (rank: number) => rank === 0, /rank 0 has logged 'odd' 1 times, and rank 1 none/],
    ['rank 1', (rank: number) => rank === 1, /rank 0 has logged none, and rank 1 'odd' 1 times/],
  ])(
    'a metric with syncDist that only %s has logged is an error of all',
    async (_, isOdd, message) => {
      class Logging extends Line {
        override trainingStep(items: readonly number[]): LossAndGradients {
          const { rank } = this.trainer.strategy;
          if (isOdd(rank)) this.log('odd', 1, { syncDist: true });
          return { loss: 0, gradients: { slope: [0], offset: [items.length] } };
        }
      }
      const module = () => new Logging();
      const all = await train({ ranks: 2, checkpoints: [{}], module });
      expectSameError(all, 'MISCONFIGURATION', message);
    },
  );

  it.each(['trainingStep', 'onBeforeOptimizerStep', 'onTrainBatchEnd', 'onTrainEpochEnd'] as const)(
    'and what it saves of an error in %s is resumed as if it had never been',
    async (hook) => {
      class Logging extends Line {
        isOdd = false;
        /** Of each epoch's start. */
        readonly metrics: unknown[] = [];
        constructor(isOdd: boolean) {
          super();
          this.isOdd = isOdd;
          Object.assign(this, {
            [hook]: (items: readonly number[]) => {
              const isDue = this.globalStep === (hook === 'onTrainEpochEnd' ? 5 : 3);
              const name = this.isOdd && isDue && this.trainer.isGlobalZero ? 'odd' : 'even';
              this.log(name, this.globalStep, { onStep: true, onEpoch: true, syncDist: true });
              return hook === 'trainingStep' ? super.trainingStep(items) : undefined;
            },
          });
        }
        override onTrainEpochStart(): void {
          this.metrics.push({ ...this.trainer.callbackMetrics });
        }
      }
      const job = { ranks: 2, checkpoints: [{ saveOnException: true, filename: 'failed' }] };
      const whole = await train({ ...job, module: () => new Logging(false) });
      const storage = memoryFiles();
      const failed = await train({ ...job, storage, module: () => new Logging(true) });
      expectSameError(failed, 'MISCONFIGURATION', /rank 0 has logged .*'odd'/);
      const fit = () => ({ ckptPath: '/c/failed.ckpt' });
      const resumed = await train({ ...job, storage, fit, module: () => new Logging(false) });
      for (const [rank, { error, module }] of resumed.entries()) {
        expect(error).toBeUndefined();
        const unbroken = whole[rank] as Rank;
        expect(weightsOf({ ...unbroken, module })).toEqual(weightsOf(unbroken));
      }
      // What is logged without syncDist is rank 0's.
      const [zero, before] = [resumed[0] as Rank, whole[0] as Rank];
      expect(zero.trainer.callbackMetrics).toEqual(before.trainer.callbackMetrics);
      const { metrics } = zero.module as Logging;
      expect(metrics).toEqual((before.module as Logging).metrics.slice(-metrics.length));
    },
  );

  it('a metric with another reduction on one rank is an error of all', async () => {
    class Logging extends Line {
      override validationStep(): void {
        const reduceFx = this.trainer.strategy.rank === 0 ? 'max' : 'mean';
        this.log('odd', 1, { syncDist: true, reduceFx });
      }
    }
    const all = await train({ ranks: 2, checkpoints: [{}], module: () => new Logging() });
    const message = /rank 0 has logged 'odd' \(max\) 2 times, and rank 1 'odd' 2 times/;
    expectSameError(all, 'MISCONFIGURATION', message);
  });

  it('evaluates the weights of rank 0 on every rank', async () => {
    class Told extends Line {
      override validationStep(): void {
        this.log('slope', this.weight('slope')[0], { syncDist: true });
      }
    }
    const results = await Promise.all(
      localRanks(2).map(async (strategy) => {
        const module = new Told();
        const like = { group: 'model', dtype: 'F32', shape: [1] } as const;
        const bytes = new Uint8Array(Float32Array.of(1 + strategy.rank).buffer);
        module.load([{ ...like, name: 'slope', bytes }], {}, { strict: false, weightsOnly: true });
        const dataloaders = new DataLoader([1, 2]);
        const [metrics] = await quietTrainer({ strategy }).validate(module, { dataloaders });
        return metrics;
      }),
    );
    expect(results).toEqual([{ slope: 1 }, { slope: 1 }]);
  });
});

/** Two ranks, each with a job of its own. */
async function trainUnlike(given: (rank: number) => Partial<Job>): Promise<readonly Rank[]> {
  return (
    await Promise.all(
      localRanks(2).map((strategy) =>
        train({ ranks: 2, checkpoints: [{}], ...given(strategy.rank), strategies: [strategy] }),
      ),
    )
  ).flat();
}
