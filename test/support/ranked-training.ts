import { expect } from 'vitest';
import {
  type Callback,
  DataLoader,
  type FitOptions,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  memoryFiles,
  type Storage,
  type Strategy,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from './array-module.ts';
import { localRanks } from './local-ranks.ts';

export const ITEMS = 29;

/** Fits y = 2·x − 1; logs what hooks tell it to. */
export class Line extends ArrayModule<readonly number[]> {
  /** Items of each batch that this rank got. */
  readonly seen: number[] = [];
  constructor(more: Readonly<Record<string, readonly number[]>> = {}) {
    super({ slope: [0.5], offset: [0], ...more });
  }
  override trainingStep(items: readonly number[]): LossAndGradients {
    this.seen.push(...items);
    const [slope = 0] = this.weight('slope');
    const [offset = 0] = this.weight('offset');
    const gradients = { slope: [0], offset: [0] };
    let loss = 0;
    for (const item of items) {
      const x = Math.sin(item);
      const error = slope * x + offset - (2 * x - 1);
      loss += error ** 2 / items.length;
      gradients.slope[0]! += (2 * error * x) / items.length;
      gradients.offset[0]! += (2 * error) / items.length;
    }
    this.log('loss', loss, { onStep: true, onEpoch: true, syncDist: true });
    this.log('own', items.length, { onStep: true, onEpoch: false });
    return { loss, gradients };
  }
  override validationStep(items: readonly number[]): void {
    const mean = items.reduce((sum, item) => sum + item, 0) / items.length;
    this.log('val', mean - this.globalStep, { batchSize: items.length, syncDist: true });
    this.log('biggest', Math.max(...items), { reduceFx: 'max', syncDist: true });
    this.log('count', items.length, { reduceFx: 'sum', syncDist: true });
  }
  override configureOptimizers() {
    return { learningRate: 0.05, momentum: 0.9 };
  }
}

export interface Rank {
  readonly module: Line;
  readonly trainer: Trainer;
  readonly checkpoints: readonly ModelCheckpoint[];
  readonly error: unknown;
  readonly messages: readonly string[];
}

export interface Job {
  readonly ranks: number;
  /** Default: that many ranks of this process. */
  readonly strategies?: readonly Strategy[];
  readonly storage?: Storage;
  readonly checkpoints?: readonly ModelCheckpointOptions[];
  readonly trainer?: TrainerOptions;
  readonly fit?: (rank: number) => FitOptions;
  readonly module?: (rank: number) => Line;
  readonly callbacks?: (rank: number, checkpoints: readonly ModelCheckpoint[]) => Callback[];
  readonly batchSize?: number;
}

/** Trains on some ranks of this process. Only rank 0 is given the storage: for the others every use of theirs throws. */
export async function train(job: Job): Promise<readonly Rank[]> {
  const { ranks, strategies = localRanks(ranks), storage = memoryFiles(), batchSize = 6 } = job;
  return await Promise.all(
    strategies.map((strategy) => trainOne(job, strategy, storage, batchSize)),
  );
}

async function trainOne(
  job: Job,
  strategy: Strategy,
  storage: Storage,
  batchSize: number,
): Promise<Rank> {
  const { rank } = strategy;
  const messages: string[] = [];
  const options = job.checkpoints ?? [{ monitor: 'val', saveTopK: 2, saveLast: true }];
  const checkpoints = options.map((each) => new ModelCheckpoint({ dirpath: '/c', ...each }));
  const trainer = new Trainer({
    maxEpochs: 3,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    console: { info: (text) => messages.push(text), warn: (text) => messages.push(text) },
    ...job.trainer,
    strategy,
    storage: rank === 0 ? storage : untouched(),
    callbacks: [...checkpoints, ...(job.callbacks?.(rank, checkpoints) ?? [])],
  });
  const module = job.module?.(rank) ?? new Line();
  let error: unknown;
  try {
    await trainer.fit(module, {
      trainDataloaders: new DataLoader(
        Array.from({ length: ITEMS }, (_, i) => i),
        { batchSize, shuffle: true, seed: 5 },
      ),
      valDataloaders: new DataLoader([3, 1, 4, 1, 5, 9, 2], { batchSize: 3 }),
      ...job.fit?.(rank),
    });
  } catch (thrown) {
    error = thrown;
  }
  return { module, trainer, checkpoints, error, messages };
}

function untouched(): Storage {
  const refuse = (): never => {
    throw new Error('a rank that is not rank 0 touched the storage');
  };
  return new Proxy(memoryFiles(), {
    get: (files, name) =>
      typeof files[name as keyof Storage] === 'function' ? refuse : files[name as keyof Storage],
  });
}

export async function namesIn(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of storage.list('/c')) if (path.endsWith('.ckpt')) found.push(path);
  return found.sort();
}

export const weightsOf = ({ module }: Rank): number[] => [
  ...module.weight('slope'),
  ...module.weight('offset'),
];
export const statesOf = ({ checkpoints }: Rank): unknown =>
  checkpoints.map((each) => each.stateDict());

export function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of actual.entries())
    expect(value).toBeCloseTo(expected[i] ?? Number.NaN, 5);
}
