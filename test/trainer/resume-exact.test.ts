import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Callback,
  CSVLogger,
  cosineAnnealingLR,
  DataLoader,
  type DataSource,
  EarlyStopping,
  exponentialLR,
  type LRSchedulerConfig,
  ModelCheckpoint,
  reduceLROnPlateau,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import {
  ArrayModule,
  type LossAndGradients,
  type ScheduledSgd,
  type Sgd,
} from '../support/array-module.ts';

const ITEMS = [0.5, 1, 1.5, 2, 2.5, 3, 3.5];

/** Everything that a resume could get wrong: noise, momentum, step and epoch metrics, state of its own. */
class Noisy extends ArrayModule<number[] | number> {
  seen = 0;
  readonly #schedule: Schedule | undefined;

  constructor(schedule?: Schedule) {
    super({ weight: [1, -1], bias: [0.25] });
    this.#schedule = schedule;
  }
  override configureOptimizers(): Sgd | ScheduledSgd {
    const optimizer = { learningRate: 0.05, momentum: 0.9 };
    return this.#schedule === undefined ? optimizer : { optimizer, lrScheduler: this.#schedule() };
  }
  override trainingStep(batch: number[]): LossAndGradients {
    const noise = this.rng.normal();
    const loss =
      batch.reduce((sum, item) => sum + item, 0) * noise + (this.weight('weight')[0] ?? 0);
    this.seen += batch.length;
    this.log('loss', loss, { onStep: true, onEpoch: true, batchSize: batch.length });
    this.log('least', loss, { onEpoch: true, reduceFx: 'min' });
    this.log('rate', this.learningRate);
    return { loss, gradients: { weight: [noise, loss], bias: [this.seen / 10] } };
  }
  override validationStep(batch: number): void {
    this.log('val_loss', batch + (this.weight('weight')[1] ?? 0) + this.rng.uniform());
  }
  override onSaveCheckpoint(checkpoint: Record<string, unknown>): void {
    checkpoint.seen = { count: Int32Array.of(this.seen) };
  }
  override onLoadCheckpoint(checkpoint: Record<string, unknown>): void {
    this.seen = (checkpoint.seen as { count: Int32Array }).count[0] ?? Number.NaN;
  }
}

type Schedule = () => LRSchedulerConfig;

/** Saves a file of its own at each of the hooks in which checkpoint callbacks decide. */
class SaveEverywhere implements Callback {
  readonly isCheckpoint = true;
  readonly dirpath = '';
  readonly folderDepth = 0;
  readonly stateKey = 'SaveEverywhere';
  readonly saveWeightsOnly = false;
  readonly saved: string[] = [];
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }
  keeps = (): boolean => false;
  renamePath(): void {}
  onSaved(): void {}
  onTrainBatchEnd = (trainer: Trainer): Promise<void> => this.#save(trainer, 'batch-end');
  onValidationEnd = (trainer: Trainer): Promise<void> => this.#save(trainer, 'validation-end');
  onTrainEpochEnd = (trainer: Trainer): Promise<void> => this.#save(trainer, 'epoch-end');
  async #save(trainer: Trainer, hook: string): Promise<void> {
    const path = join(this.#folder, `${this.saved.length}-${hook}.ckpt`);
    await trainer.saveCheckpoint(path);
    this.saved.push(path);
  }
}

interface Outcome {
  readonly events: readonly string[];
  readonly end: unknown;
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-exact-'));
});
afterEach(() => rm(root, { recursive: true }));

async function run(
  options: TrainerOptions,
  train: () => DataSource<number[]>,
  places: { readonly dir: string; readonly ckptPath?: string; readonly saveTo?: string },
  schedule?: Schedule,
): Promise<Outcome & { readonly saved: readonly string[] }> {
  const events: string[] = [];
  const module = new Noisy(schedule);
  const { dir, ckptPath, saveTo } = places;
  const best = { monitor: 'val_loss', saveTopK: 2, saveLast: true, filename: '{step}' } as const;
  const checkpoint = new ModelCheckpoint({ dirpath: join(root, dir), ...best });
  const everywhere = saveTo === undefined ? undefined : new SaveEverywhere(saveTo);
  const patience = new EarlyStopping({ monitor: 'val_loss', patience: 2 });
  const trainer: Trainer = new Trainer({
    maxEpochs: 2,
    seed: 3,
    logEveryNSteps: 1,
    enableProgressBar: false,
    callbacks: [checkpoint, patience, ...(everywhere === undefined ? [] : [everywhere])],
    logger: new CSVLogger({ saveDir: join(root, 'logs'), name: '', version: dir }),
    console: { info: () => {}, warn: () => {} },
    onHookCompleted: (hook, { batchIdx }) => {
      if (hook === 'trainStart' || hook === 'sanityValidationEnd') return;
      const { currentEpoch, globalStep, callbackMetrics } = trainer;
      events.push(JSON.stringify([hook, batchIdx, currentEpoch, globalStep, callbackMetrics]));
    },
    ...options,
  });
  await trainer.fit(module, { trainDataloaders: train(), valDataloaders: [1, 2], ckptPath });
  const end = {
    weights: [...module.weight('weight'), ...module.weight('bias')],
    seen: module.seen,
    patience: patience.stateDict(),
    metrics: trainer.callbackMetrics,
    kept: [...checkpoint.bestKModels].map(([path, score]) => [path.split('/').at(-1), score]),
    files: (await readdir(join(root, dir))).filter((name) => name.endsWith('.ckpt')).sort(),
  };
  return { events, end, saved: everywhere?.saved ?? [] };
}

const loaders: Record<string, () => DataSource<number[]>> = {
  'a shuffled DataLoader': () => new DataLoader(ITEMS, { batchSize: 2, shuffle: true, seed: 5 }),
  'an array of batches': () => [[1, 2], [3], [4, 5, 6], [0.5]],
  'a generator without length': () => ({
    *[Symbol.iterator]() {
      yield* [[1, 2], [3], [4, 5, 6], [0.5]];
    },
  }),
};
const loops: Record<string, TrainerOptions> = {
  'a validation each epoch': {},
  'validations in mid-epoch and mid-accumulation': {
    accumulateGradBatches: 3,
    valCheckInterval: { batches: 2 },
  },
  'validations across epochs': {
    accumulateGradBatches: 2,
    checkValEveryNEpoch: null,
    valCheckInterval: { batches: 3 },
  },
  'maxSteps in mid-epoch': { maxEpochs: -1, maxSteps: 6 },
  'clipped gradients': { accumulateGradBatches: 2, gradientClipVal: 0.5 },
};

describe.each(Object.entries(loaders))('a run resumed from any hook, with %s', (_, loader) => {
  it.each(Object.entries(loops))('ends with the same bits: %s', async (_, options) => {
    const uninterrupted = await run(options, loader, { dir: 'whole', saveTo: join(root, 'saved') });
    expect(uninterrupted.saved.length).toBeGreaterThan(8);
    for (const [index, ckptPath] of uninterrupted.saved.entries()) {
      const places = { dir: `from-${index}`, ckptPath };
      const resumed = await run(options, loader, places);
      const { kept: _kept, files: _files, ...end } = resumed.end as Record<string, unknown>;
      expect(uninterrupted.end).toMatchObject(end);
      // The last epoch's end leaves nothing to train, and no hook runs.
      const isLast = index === uninterrupted.saved.length - 1;
      expect(resumed.events).toEqual(isLast ? [] : uninterrupted.events.slice(index + 1));
    }
  });
});

const schedules: Record<string, Schedule> = {
  'moves on at every step': () => ({
    scheduler: cosineAnnealingLR({ tMax: 7 }),
    interval: 'step',
  }),
  'moves on at every epoch': () => ({ scheduler: exponentialLR({ gamma: 0.7 }) }),
  'waits for a plateau of validations': () => ({
    scheduler: reduceLROnPlateau({ patience: 0, factor: 0.5, threshold: 0.5 }),
    monitor: 'val_loss',
    interval: 'step',
    frequency: 2,
    strict: false,
  }),
};

describe.each(Object.entries(schedules))('a learning rate that %s', (_, schedule) => {
  it.each(['validations in mid-epoch and mid-accumulation', 'maxSteps in mid-epoch'])(
    'goes on exactly from any hook: %s',
    async (name) => {
      const loader = loaders['a shuffled DataLoader'] as () => DataSource<number[]>;
      const options = { ...loops[name], maxEpochs: 3 };
      const saveTo = join(root, 'saved');
      const uninterrupted = await run(options, loader, { dir: 'whole', saveTo }, schedule);
      expect(uninterrupted.saved.length).toBeGreaterThan(8);
      for (const [index, ckptPath] of uninterrupted.saved.slice(0, -1).entries()) {
        const places = { dir: `from-${index}`, ckptPath };
        const resumed = await run(options, loader, places, schedule);
        const { kept: _kept, files: _files, ...end } = resumed.end as Record<string, unknown>;
        expect(uninterrupted.end).toMatchObject(end);
        expect(resumed.events).toEqual(uninterrupted.events.slice(index + 1));
      }
    },
  );
});

describe('a run that EarlyStopping has ended', () => {
  it('is ended from any hook it is resumed in, at the same step, and stays so', async () => {
    const loader = loaders['an array of batches'] as () => DataSource<number[]>;
    const options = { maxEpochs: 50 };
    const whole = await run(options, loader, { dir: 'whole', saveTo: join(root, 'saved') });
    expect(whole.saved.length).toBeLessThan(150);
    const { patience } = whole.end as { patience: { stoppedEpoch: number } };
    expect(patience.stoppedEpoch).toBeGreaterThan(1);
    for (const [index, ckptPath] of whole.saved.entries()) {
      const resumed = await run(options, loader, { dir: `from-${index}`, ckptPath });
      const isLast = index === whole.saved.length - 1;
      expect(resumed.events).toEqual(isLast ? [] : whole.events.slice(index + 1));
      expect((resumed.end as { patience: unknown }).patience).toEqual(patience);
    }
  });
});

describe('a run that is interrupted and started again with ckptPath last', () => {
  it('ends with the same files, metrics and log as one that was not', async () => {
    const loader = loaders['a shuffled DataLoader'] as () => DataSource<number[]>;
    const options = { maxEpochs: 3 };
    const whole = await run(options, loader, { dir: 'whole' });
    for (let stopAfter = 1; stopAfter <= 14; stopAfter++) {
      const dir = `stopped-${stopAfter}`;
      const controller = new AbortController();
      let hooks = 0;
      const module = new Noisy();
      const trainer = new Trainer({
        ...options,
        seed: 3,
        logEveryNSteps: 1,
        enableProgressBar: false,
        callbacks: [
          new ModelCheckpoint({
            dirpath: join(root, dir),
            monitor: 'val_loss',
            saveTopK: 2,
            saveLast: true,
            filename: '{step}',
          }),
          new EarlyStopping({ monitor: 'val_loss', patience: 2 }),
        ],
        logger: new CSVLogger({ saveDir: join(root, 'logs'), name: '', version: dir }),
        onHookCompleted: () => {
          hooks++;
          if (hooks === stopAfter + 2) controller.abort();
        },
      });
      const data = { trainDataloaders: loader(), valDataloaders: [1, 2] };
      const fit = trainer.fit(module, { ...data, signal: controller.signal });
      await expect(fit).rejects.toThrow('interrupted');
      const resumed = await run(options, loader, { dir, ckptPath: 'last' });
      expect(resumed.end).toEqual(whole.end);
      const rows = await readFile(join(root, 'logs', dir, 'metrics.csv'), 'utf8');
      expect(rows).toBe(await readFile(join(root, 'logs', 'whole', 'metrics.csv'), 'utf8'));
    }
  });
});
