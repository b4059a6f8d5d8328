import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import {
  type Callback,
  DataLoader,
  type DataSource,
  EarlyStopping,
  type LogOptions,
  ModelCheckpoint,
  ModelSummary,
  memoryFiles,
  ProgressBar,
  reduceLROnPlateau,
  type Storage,
  StorageError,
  Trainer,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { localRanks } from '../support/local-ranks.ts';
import {
  expectClose,
  ITEMS,
  Line,
  namesIn,
  statesOf,
  train,
  weightsOf,
} from '../support/ranked-training.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

it.each([1, 2, 3, 8])('on %i ranks training is what it is in one process', async (ranks) => {
  const [alone, together] = [memoryFiles(), memoryFiles()];
  const [one] = await train({ ranks: 1, storage: alone });
  const all = await train({ ranks, storage: together });
  for (const rank of all) {
    expect(rank.error).toBeUndefined();
    expect(rank.trainer.globalStep).toBe(one!.trainer.globalStep);
    expect(weightsOf(rank)).toEqual(weightsOf(all[0]!));
    expectClose(weightsOf(rank), weightsOf(one!));
    expect(statesOf(rank)).toEqual(statesOf(one!));
    const { own: _, own_step: __, ...metrics } = rank.trainer.callbackMetrics;
    for (const [name, value] of Object.entries(metrics)) {
      expect(value).toBeCloseTo(one!.trainer.callbackMetrics[name]!, 5);
    }
  }
  expect(await namesIn(together)).toEqual(await namesIn(alone));
  expect(all.slice(1).flatMap(({ messages }) => messages)).toEqual([]);
});

it('every item is trained on once, whatever the number of ranks', async () => {
  // A last batch of one item leaves all ranks but one without any: they look at it, and it counts once.
  for (const [ranks, batchSize] of [
    [2, 6],
    [3, 7],
    [5, 7],
  ] as const) {
    const trainer = { maxEpochs: 1 };
    const all = await train({ ranks, batchSize, trainer, module: () => new Line() });
    const seen = all.map(({ module }) => new Set(module.seen));
    expect(new Set(seen.flatMap((items) => [...items]))).toHaveLength(ITEMS);
    const twice = seen.flatMap((items) => [...items]).length - ITEMS;
    expect(twice).toBe(ranks === 2 ? 0 : ranks - 1);
  }
});

it.each([
  ['everyNTrainSteps', [{ everyNTrainSteps: 2, saveTopK: -1 }]],
  ['an interval, by the clock of rank 0', [{ trainTimeInterval: 0, saveTopK: -1 }]],
  ['two callbacks that share a name', [{ filename: 'a' }, { filename: 'a', everyNTrainSteps: 3 }]],
  [
    'the best by a metric of which each rank has its own',
    [{ monitor: 'own', everyNTrainSteps: 1 }],
  ],
] as const)('all ranks hold the same state after every hook: %s', async (_name, checkpoints) => {
  const states: unknown[][] = [[], [], []];
  const all = await train({
    ranks: 3,
    checkpoints: checkpoints.map((each) => ({ ...each })),
    batchSize: 7,
    callbacks: (rank, own) => [
      {
        onTrainBatchStart: () => {
          states[rank]?.push(own.map((each) => each.stateDict()));
        },
      },
    ],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
  expect(states[0]).not.toEqual([]);
  expect(states[1]).toEqual(states[0]);
  expect(states[2]).toEqual(states[0]);
  expect(statesOf(all[1]!)).toEqual(statesOf(all[0]!));
});

it.each([true, false])(
  'a failed save is the same error on every rank (asyncSave: %s)',
  async (asyncSave) => {
    const files = memoryFiles();
    const storage: Storage = {
      ...files,
      writer: async (path) => {
        if (!path.includes('step=6')) return await files.writer(path);
        throw new StorageError('NoSpace', path, `No space for '${path}'.`);
      },
    };
    const checkpoints = [{ everyNTrainSteps: 2, saveTopK: -1 }];
    const all = await train({ ranks: 3, storage, checkpoints, trainer: { asyncSave } });
    for (const { error, trainer } of all) {
      expect(error).toMatchObject({
        code: 'SAVE_FAILED',
        message: (all[0]!.error as Error).message,
        details: { path: '/c/epoch=1-step=6.ckpt' },
      });
      expect(trainer.globalStep).toBe(all[0]?.trainer.globalStep);
    }
    expect(await namesIn(files)).toContain('/c/epoch=0-step=4.ckpt');
  },
);

it('a save that fails and is put up with leaves the same state on every rank', async () => {
  const files = memoryFiles();
  const storage: Storage = {
    ...files,
    writer: async (path) => {
      if (!path.includes('step=6')) return await files.writer(path);
      throw new StorageError('NoSpace', path, `No space for '${path}'.`);
    },
  };
  const checkpoints = [{ everyNTrainSteps: 2, saveTopK: -1 }, { everyNTrainSteps: 3 }];
  const trainer = { onSaveError: 'warn' } as const;
  const all = await train({ ranks: 2, storage, checkpoints, trainer });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(all[0]?.messages.join()).toContain('Training goes on');
  expect(statesOf(all[1]!)).toEqual(statesOf(all[0]!));
  expect(await namesIn(files)).not.toContain('/c/epoch=1-step=6.ckpt');
});

it('a name that another process takes meanwhile gets the same version on every rank', async () => {
  const files = memoryFiles();
  let taken = 0;
  const storage: Storage = {
    ...files,
    writer: async (path) => {
      const writer = await files.writer(path);
      return {
        ...writer,
        write: (views) => writer.write(views),
        publish: async (options) => {
          if (taken++ > 0 || options.replace) return await writer.publish(options);
          await writer.abort();
          throw new StorageError('Conflict', path, `'${path}' is taken.`);
        },
      };
    },
  };
  const all = await train({
    ranks: 2,
    storage,
    checkpoints: [{ everyNTrainSteps: 2, saveTopK: -1 }],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(taken).toBeGreaterThan(1);
  expect(statesOf(all[1]!)).toEqual(statesOf(all[0]!));
});

it.each([
  [2, 2, true],
  [3, 3, true],
  [2, 1, false],
  [1, 2, false],
  [2, 3, false],
] as const)(
  'saved by %i ranks and gone on with by %i: the same place in the data, and exact if as many',
  async (before, after, isExact) => {
    const trainer = { accumulateGradBatches: 2, maxEpochs: 3 };
    const checkpoints = [{ everyNTrainSteps: 1, saveTopK: -1, saveLast: true }];
    const [whole] = await train({ ranks: after, trainer, checkpoints });
    for (const hook of ['onTrainBatchStart', 'onValidationStart'] as const) {
      const storage = memoryFiles();
      const controllers = Array.from({ length: before }, () => new AbortController());
      const stop = (rank: number): Callback => {
        let calls = 0;
        // Mid-epoch, in the middle of an accumulation window, on one rank only.
        return {
          [hook]: () =>
            ++calls === (hook === 'onTrainBatchStart' ? 9 : 2) && controllers[rank]?.abort(),
        };
      };
      const cut = await train({
        ranks: before,
        storage,
        trainer,
        checkpoints,
        callbacks: (rank) => (rank === before - 1 ? [stop(rank)] : []),
        fit: (rank) => ({ signal: controllers[rank]!.signal }),
      });
      for (const { error } of cut) expect(error).toMatchObject({ name: 'AbortError' });
      const fit = () => ({ ckptPath: 'last' });
      const resumed = await train({ ranks: after, storage, trainer, checkpoints, fit });
      for (const rank of resumed) {
        expect(rank.error).toBeUndefined();
        expect(rank.trainer.globalStep).toBe(whole!.trainer.globalStep);
        if (isExact) expect(weightsOf(rank)).toEqual(weightsOf(whole!));
        else expectClose(weightsOf(rank), weightsOf(whole!));
        expect(statesOf(rank)).toEqual(statesOf(resumed[0]!));
        const { loss_epoch: loss } = rank.trainer.callbackMetrics;
        if (isExact) expect(loss).toBe(whole!.trainer.callbackMetrics.loss_epoch);
        else expect(loss).toBeCloseTo(whole!.trainer.callbackMetrics.loss_epoch!, 5);
      }
    }
  },
);

it('a name that another run has taken since is given up at once on every rank', async () => {
  const storage = memoryFiles();
  const checkpoints = [{ everyNTrainSteps: 2, saveTopK: -1, saveLast: true }];
  await train({ ranks: 2, storage, checkpoints, trainer: { maxSteps: 4 } });
  // Older than the checkpoint to resume from, and written after it.
  const bytes = await storage.read('/c/epoch=0-step=2.ckpt');
  await storage.remove('/c/last.ckpt');
  await sleep(5);
  const writer = await storage.writer('/c/last.ckpt', { sizeBytes: bytes.length });
  await writer.write([bytes]);
  await writer.publish({ replace: false });
  const last: string[] = [];
  const all = await train({
    ranks: 2,
    storage,
    checkpoints,
    fit: () => ({ ckptPath: '/c/epoch=0-step=4.ckpt' }),
    callbacks: (rank, [checkpoint]) => [
      {
        onFitStart: () => {
          last[rank] = checkpoint!.lastModelPath;
        },
      },
    ],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(last).toEqual(['', '']);
  expect(all[0]?.messages.join()).toMatch(/last.ckpt' was made after the checkpoint resumed from/);
  expect(statesOf(all[1]!)).toEqual(statesOf(all[0]!));
  expect(all[1]?.checkpoints[0]?.lastModelPath).toBe('/c/last-v1.ckpt');
});

it('fileExists, saveCheckpoint and flush do the same on every rank', async () => {
  const storage = memoryFiles();
  const answers: boolean[][] = [[], []];
  const all = await train({
    ranks: 2,
    storage,
    callbacks: (rank, [checkpoint]) => [
      {
        onTrainEpochEnd: async (trainer) => {
          await trainer.saveCheckpoint('/c/mine.ckpt');
          await checkpoint?.saveCheckpoint(trainer);
          await checkpoint?.flush();
          answers[rank]?.push(
            (await checkpoint?.fileExists('/c/mine.ckpt', trainer)) ?? false,
            (await checkpoint?.fileExists('/c/absent.ckpt', trainer)) ?? true,
          );
          await checkpoint?.toYaml();
        },
      },
    ],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(answers[0]).toEqual([true, false, true, false, true, false]);
  expect(answers[1]).toEqual(answers[0]);
  expect(await storage.stat('/c/best_k_models.yaml')).toBeDefined();
});

it('what one rank asks for, all do: stopping', async () => {
  const all = await train({
    ranks: 3,
    trainer: { maxEpochs: 100 },
    callbacks: (rank) => [
      {
        onTrainBatchEnd: (trainer) => {
          if (rank === 2 && trainer.globalStep === 7) trainer.shouldStop = true;
        },
      },
    ],
  });
  expect(all.map(({ trainer }) => trainer.globalStep)).toEqual([7, 7, 7]);
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined, undefined]);
});

it('validation within the epoch, accumulation, early stopping and a schedule by a metric are as in one process', async () => {
  class Scheduled extends Line {
    override configureOptimizers() {
      const scheduler = reduceLROnPlateau({ mode: 'max', patience: 0, factor: 0.5 });
      const lrScheduler = { scheduler, monitor: 'val', interval: 'step', strict: false } as const;
      return { optimizer: super.configureOptimizers(), lrScheduler } as never;
    }
  }
  const on = (ranks: number) =>
    train({
      ranks,
      module: () => new Scheduled(),
      trainer: { valCheckInterval: { batches: 3 }, accumulateGradBatches: 2, maxEpochs: 50 },
      callbacks: () => [new EarlyStopping({ monitor: 'val', mode: 'max', patience: 4 })],
    });
  // Five validations, each in the second of three windows of its epoch.
  const [one] = await on(1);
  expect(one?.trainer.globalStep).toBe(13);
  expect(one?.module.learningRate).toBeLessThan(0.05);
  for (const rank of await on(3)) {
    expect(rank.error).toBeUndefined();
    expect(rank.trainer.globalStep).toBe(13);
    expect(rank.module.learningRate).toBe(one?.module.learningRate);
    expectClose(weightsOf(rank), weightsOf(one!));
    expect(statesOf(rank)).toEqual(statesOf(one!));
  }
});

it('when the time of one rank is up, all stop at the same step', async () => {
  const all = await train({
    ranks: 2,
    trainer: { maxTime: 150, maxEpochs: -1 },
    callbacks: (rank) => [
      // The clocks of the ranks start apart.
      { onFitStart: () => sleep(rank * 60), onTrainBatchStart: () => sleep(rank * 3) },
    ],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(all[0]?.trainer.globalStep).toBeGreaterThan(0);
  expect(all[1]?.trainer.globalStep).toBe(all[0]?.trainer.globalStep);
  expect(statesOf(all[1]!)).toEqual(statesOf(all[0]!));
});

it('what one rank asks for, all do: skipping the rest of an epoch', async () => {
  class Skipping extends Line {
    readonly rank: number;
    constructor(rank: number) {
      super();
      this.rank = rank;
    }
    override onTrainBatchStart(_batch: unknown, batchIdx: number): number | undefined {
      return this.rank === 1 && batchIdx === 2 ? -1 : undefined;
    }
  }
  const all = await train({
    ranks: 2,
    trainer: { maxEpochs: 2 },
    module: (rank) => new Skipping(rank),
    checkpoints: [{}],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(all.map(({ trainer }) => trainer.globalStep)).toEqual([4, 4]);
});

it('what one rank asks for, all do: not to begin', async () => {
  const all = await train({
    ranks: 2,
    checkpoints: [{}],
    callbacks: (rank) => [
      {
        setup: (trainer) => {
          if (rank === 0) trainer.shouldStop = true;
        },
      },
    ],
  });
  expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
  expect(all.map(({ trainer }) => trainer.globalStep)).toEqual([0, 0]);
});

it('an error on one rank ends the others, and rank 0 saves its own exception first', async () => {
  const storage = memoryFiles();
  class Failing extends Line {
    override onAfterBackward(): void {
      if (this.globalStep === 4) throw new RangeError('this rank has had enough');
    }
  }
  const checkpoints = [{ saveOnException: true, filename: 'failed' }];
  for (const failing of [0, 1]) {
    const all = await train({
      ranks: 2,
      storage: failing === 0 ? storage : memoryFiles(),
      checkpoints,
      module: (rank) => (rank === failing ? new Failing() : new Line()),
    });
    expect(all[failing]?.error).toMatchObject({ code: 'HOOK_FAILED' });
    expect(all[1 - failing]?.error).toBeDefined();
    const warnings = all.map(({ messages }) => messages.filter((text) => /'loss'/.test(text)));
    const told = /^'loss': what other ranks .* has another value for this epoch/;
    expect(warnings).toEqual([[expect.stringMatching(told)], []]);
  }
  expect(await namesIn(storage)).toEqual(['/c/failed.ckpt']);
});

it('a hook that fails on every rank while a checkpoint is made is one error of all', async () => {
  class Failing extends Line {
    override onSaveCheckpoint(): void {
      throw new RangeError('nothing to add');
    }
  }
  const all = await train({
    ranks: 2,
    module: (rank) => (rank === 1 ? new Failing() : new Line()),
  });
  for (const { error } of all) {
    expect(error).toMatchObject({ code: 'HOOK_FAILED' });
    expect((error as Error).message).toContain('nothing to add');
  }
});

it('refuses data and modules that differ between ranks, on all of them', async () => {
  const data = await train({
    ranks: 2,
    fit: (rank) => ({ trainDataloaders: new DataLoader([[1], [2], [3]].slice(rank)) as never }),
  });
  for (const { error } of data) {
    expect(error).toMatchObject({ code: 'MISCONFIGURATION' });
    expect((error as Error).message).toMatch(
      /not given the same: rank 0 has batches of training data 3, and rank 1 .* data 2/,
    );
  }
  class Other extends ArrayModule<readonly number[]> {
    constructor() {
      super({ slope: [0.5, 1], offset: [0] });
    }
    override trainingStep(): LossAndGradients {
      return { loss: 0, gradients: { slope: [0, 0], offset: [0] } };
    }
    override validationStep(): void {}
  }
  const modules = await train({
    ranks: 2,
    module: (rank) => (rank === 1 ? (new Other() as never) : new Line()),
  });
  for (const { error } of modules) {
    expect(error).toMatchObject({ code: 'MISCONFIGURATION' });
    expect((error as Error).message).toMatch(
      /modules of the ranks differ: rank 0 has model 'slope' F32\[1\], rank 1 has model 'slope' F32\[2\]/,
    );
  }
});

it('data that cannot be divided trains right on every rank, with a warning', async () => {
  const batches = [[1, 2], [3, 4], [5]];
  const fit = () => ({ trainDataloaders: batches });
  const [one] = await train({ ranks: 1, fit });
  const all = await train({ ranks: 2, fit });
  for (const rank of all) expectClose(weightsOf(rank), weightsOf(one!));
  expect(all[0]?.messages.join()).toMatch(/cannot be divided among 2 ranks/);
});

it.each([
  ['that is divided', (items: number[]): DataSource => new DataLoader(items, { batchSize: 4 })],
  [
    'that is not',
    (items: number[]): DataSource => [items.slice(0, 4), items.slice(4, 9), items.slice(9)],
  ],
] as const)(
  'metrics of every reduction are those of one process, of data %s',
  async (_, batchesOf) => {
    class Logging extends Line {
      override trainingStep(items: readonly number[]): LossAndGradients {
        this.#logAll('train', items, { onStep: true, onEpoch: true, syncDist: true });
        return super.trainingStep(items);
      }
      override validationStep(items: readonly number[]): void {
        this.#logAll('val', items, { syncDist: true });
      }
      #logAll(of: string, items: readonly number[], options: LogOptions): void {
        const sum = items.reduce((all, item) => all + item, 0);
        this.log(`${of} sum`, sum, { ...options, reduceFx: 'sum' });
        this.log(`${of} count`, items.length, { ...options, reduceFx: 'sum' });
        this.log(`${of} mean`, sum / items.length, { ...options, batchSize: items.length });
        this.log(`${of} min`, Math.min(...items), { ...options, reduceFx: 'min' });
        this.log(`${of} max`, Math.max(...items), { ...options, reduceFx: 'max' });
      }
    }
    // The last batch has one item: of ranks that divide it all but one have none.
    const data = () => batchesOf([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9]) as never;
    const metricsOn = async (ranks: number) => {
      const all = await train({
        ranks,
        trainer: { maxEpochs: 1 },
        checkpoints: [{}],
        module: () => new Logging(),
        fit: () => ({ trainDataloaders: data(), valDataloaders: data() }),
      });
      expect(all.map(({ error }) => error)).toEqual(all.map(() => undefined));
      return all.map(({ trainer }) => {
        const { own: _, own_step: __, ...metrics } = trainer.callbackMetrics;
        return metrics;
      });
    };
    const [expected = {}] = await metricsOn(1);
    expect(expected).toMatchObject({ 'train sum_epoch': 61, 'val count': 13, 'val sum': 61 });
    for (const ranks of [2, 3]) {
      for (const metrics of await metricsOn(ranks)) {
        expect(Object.keys(metrics)).toEqual(Object.keys(expected));
        for (const [name, value] of Object.entries(expected)) {
          expect(metrics[name], `${name} on ${ranks} ranks`).toBeCloseTo(value, 5);
        }
      }
    }
  },
);

it.each([
  [0, 'min'],
  [1, 'min'],
  [0, 'max'],
  [1, 'max'],
] as const)('a metric that is NaN on rank %i is NaN on all (%s)', async (rank, reduceFx) => {
  class Diverged extends Line {
    override validationStep(): void {
      const value = this.trainer.strategy.rank === rank ? Number.NaN : 1;
      this.log('bad', value, { reduceFx, syncDist: true, batchSize: 1 });
      this.log('good', 1, { reduceFx, syncDist: true, batchSize: 1 });
    }
  }
  const all = await train({ ranks: 2, checkpoints: [{}], module: () => new Diverged() });
  for (const { trainer } of all) {
    expect(trainer.callbackMetrics).toMatchObject({ bad: Number.NaN, good: 1 });
  }
});

it('says once that a validation metric is of rank 0 alone', async () => {
  class Local extends Line {
    override validationStep(items: readonly number[]): void {
      this.log('mine', items.length, { batchSize: items.length });
    }
  }
  const all = await train({ ranks: 2, checkpoints: [{}], module: () => new Local() });
  const warnings = all[0]?.messages.filter((text) => text.includes('syncDist')) ?? [];
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain("'mine': logged without syncDist");
  const [one] = await train({ ranks: 1, checkpoints: [{}], module: () => new Local() });
  expect(one?.messages).toEqual([]);
});

describe('outside fit', () => {
  class Evaluating extends Line {
    override testStep(items: readonly number[]): void {
      this.validationStep(items);
    }
    override predictStep(items: readonly number[]): readonly number[] {
      return items;
    }
  }
  const onTwoRanks = async <T>(call: (trainer: Trainer, module: Line) => Promise<T>) =>
    await Promise.all(
      localRanks(2).map((strategy) => call(quietTrainer({ strategy }), new Evaluating())),
    );

  it.each(['validate', 'test'] as const)(
    '%s shares the data out; metrics are those of all',
    async (call) => {
      const results = await onTwoRanks(async (trainer, module) => {
        const dataloaders = new DataLoader([3, 1, 4, 1, 5, 9, 2], { batchSize: 3 });
        return await trainer[call](module, { dataloaders, verbose: false });
      });
      expect(results).toHaveLength(2);
      for (const [metrics] of results) {
        expect(metrics?.val).toBeCloseTo(25 / 7, 5);
        expect(metrics?.biggest).toBe(9);
        expect(metrics?.count).toBe(7);
      }
    },
  );

  it('predict gives each rank the predictions of its own share: each item once, in order by rank', async () => {
    const predictions = await onTwoRanks(async (trainer, module) => {
      const dataloaders = new DataLoader([1, 2, 3, 4, 5, 6, 7, 8, 9], { batchSize: 4 });
      return await trainer.predict(module, { dataloaders });
    });
    // Of the last batch, of one item, rank 1 has no share.
    expect(predictions).toEqual([
      [[1, 2], [5, 6], [9]],
      [
        [3, 4],
        [7, 8],
      ],
    ]);
  });
});

it('draws and logs on rank 0 alone', () => {
  const [zero, one] = localRanks(2).map((strategy) => {
    const callbacks = [new ProgressBar(), new ModelSummary(), new ModelCheckpoint()];
    return new Trainer({ strategy, callbacks });
  });
  expect(zero?.callbacks).toHaveLength(3);
  expect(zero?.loggers).toHaveLength(1);
  expect(one?.callbacks).toHaveLength(1);
  expect(one?.loggers).toEqual([]);
  expect(one?.isGlobalZero).toBe(false);
});

it('accepts auto or a strategy, nothing else, and loads nothing of MPI by itself', async () => {
  expect(() => new Trainer({ strategy: 'ddp' as never })).toThrow(/strategy is 'ddp'/);
  expect(new Trainer({ logger: false }).strategy.name).toBe('single');
});
