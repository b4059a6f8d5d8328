/** One rank of a job that trains a small model as `JOB` says, and prints what came of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  DataLoader,
  type Logger,
  localFiles,
  ModelCheckpoint,
  type Storage,
  StorageError,
  stopOnSignals,
  Trainer,
} from '../../src/index.ts';
import { mpiStrategy } from '../../src/strategies/mpi/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import type { TrainingJob, TrainingResult } from './training-job.ts';

const job = JSON.parse(process.env.JOB ?? '') as TrainingJob;
const { trouble } = job;
const ITEMS = 53;
/** No two alike, and exact in binary. */
const SCRIPT = [0.875, 0.5, 0.75, 0.25, 0.8125, 0.125, 0.625, 0.375];

/** Fits y = 3·x₀ − 2·x₁ + 1. */
class Linear extends ArrayModule<readonly number[]> {
  constructor() {
    // Not alike on all ranks: training begins with those of rank 0.
    super({ slopes: [0.1 + trainer.strategy.rank, -0.1], offset: [0.05] });
  }
  override trainingStep(items: readonly number[]): LossAndGradients {
    const slopes = this.weight('slopes');
    const [offset = 0] = this.weight('offset');
    const gradients = { slopes: [0, 0], offset: [0] };
    let loss = 0;
    for (const item of items) {
      const [x0, x1] = [Math.sin(item), Math.cos(item * 2)];
      const error = x0 * slopes[0]! + x1 * slopes[1]! + offset - (3 * x0 - 2 * x1 + 1);
      loss += error ** 2 / items.length;
      const slope = (2 * error) / items.length;
      gradients.slopes[0]! += slope * x0;
      gradients.slopes[1]! += slope * x1;
      gradients.offset[0]! += slope;
    }
    this.log('loss', loss, { onStep: true, onEpoch: true, syncDist: true });
    return { loss, gradients };
  }
  override validationStep(): void {
    this.log('score', SCRIPT[this.currentEpoch % SCRIPT.length] ?? 0, { syncDist: true });
    if (trouble?.kind !== 'metric is NaN') return;
    const diverges = trouble.rank === trainer.strategy.rank && trouble.step <= this.globalStep;
    for (const reduceFx of ['min', 'max'] as const) {
      this.log(reduceFx, diverges ? Number.NaN : 1, { reduceFx, syncDist: true, batchSize: 1 });
    }
  }
  override configureOptimizers() {
    return { learningRate: 0.05, momentum: 0.9 };
  }
  override async onTrainBatchStart(): Promise<void> {
    if (job.stepMs !== undefined) await sleep(job.stepMs);
    const { rank } = trainer.strategy;
    if (rank === 0) console.log(`step ${this.globalStep}`);
    if (trouble?.rank === rank && trouble.step === this.globalStep) await makeTrouble(trouble.kind);
  }
}

async function makeTrouble(kind: string): Promise<void> {
  if (kind === 'hook throws') throw new RangeError('this rank has had enough');
  if (kind === 'exits') process.exit(0);
  if (kind === 'is killed') process.kill(process.pid, 'SIGKILL');
  if (kind === 'never settles') await new Promise(() => undefined);
  if (kind === 'saves alone') await trainer.saveCheckpoint(`${job.out}/mine.ckpt`);
  if (kind === 'flushes alone') await trainer.flush();
  if (kind === 'promise rejects') void Promise.reject(new RangeError('this rank has had enough'));
  if (kind === 'timer throws') {
    setTimeout(() => {
      throw new RangeError('this rank has had enough');
    });
  }
}

/** Local files, and a disk that is full from some step on. */
function storage(): Storage {
  const files = localFiles();
  if (trouble?.kind !== 'save fails') return files;
  return {
    ...files,
    writer: async (path, options) => {
      const step = Number(/step=(\d+)/.exec(path)?.[1] ?? 0);
      if (step < trouble.step) return await files.writer(path, options);
      throw new StorageError('NoSpace', path, `There is no space for '${path}'.`);
    },
  };
}

/** Batches of numbers without a length, which end sooner on the rank that has trouble. */
async function* stream(): AsyncGenerator<readonly number[]> {
  const isCut = trouble?.rank === trainer.strategy.rank;
  for (let i = 0; i < (isCut ? trouble.step : 7); i++) yield [i, i + 1];
}

let flushes = 0;
/** Takes nothing down, and flushes whenever it is told of a checkpoint. */
const flushing: Logger = {
  saveDir: job.out,
  name: '',
  version: 'run',
  logMetrics: () => undefined,
  afterSaveCheckpoint: async () => {
    await sleep(3);
    await trainer.flush();
    flushes++;
  },
  finalize: () => console.log(`flushed ${flushes} times`),
};

const best = new ModelCheckpoint({
  dirpath: `${job.out}/best`,
  monitor: 'score',
  saveTopK: 2,
  saveLast: true,
  filename: '{epoch}-{step}-{score}',
});
const steps = new ModelCheckpoint({ dirpath: `${job.out}/steps`, everyNTrainSteps: 3 });
const trainer = new Trainer({
  maxEpochs: job.epochs,
  accumulateGradBatches: job.accumulate ?? 1,
  defaultRootDir: job.out,
  enableProgressBar: false,
  enableModelSummary: false,
  logEveryNSteps: 1,
  storage: storage(),
  callbacks: [best, steps],
  ...(trouble?.kind === 'logger flushes' ? { logger: flushing } : {}),
  ...(job.library === undefined ? {} : { strategy: mpiStrategy({ library: job.library }) }),
});
const module = new Linear();

const loader = new DataLoader(
  Array.from({ length: ITEMS }, (_, i) => i),
  { batchSize: job.batchSize ?? 8, shuffle: true, seed: 3 },
);
let error: (Error & { readonly code?: string | number }) | undefined;
try {
  await trainer.fit(module, {
    trainDataloaders: trouble?.kind === 'data ends' ? { [Symbol.asyncIterator]: stream } : loader,
    valDataloaders: new DataLoader([1, 2, 3, 4, 5], { batchSize: 3 }),
    ckptPath: job.ckptPath,
    signal: stopOnSignals(),
  });
} catch (thrown) {
  error = thrown as Error;
}
const result: TrainingResult = {
  error: error === undefined ? null : typeof error.code === 'string' ? error.code : error.name,
  message: error?.message ?? null,
  steps: trainer.globalStep,
  weights: [...module.weight('slopes'), ...module.weight('offset')],
  states: [best.stateDict(), steps.stateDict()],
  metrics: trainer.callbackMetrics,
};
writeFileSync(
  join(process.env.RESULTS ?? '', `${trainer.strategy.rank}.json`),
  JSON.stringify(result),
);
