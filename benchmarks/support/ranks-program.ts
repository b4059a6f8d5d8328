/** One rank of `npm run bench -- ranks`: `allreduce <MB>…`, `steps` or `decisions`. Rank 0 prints what it measured. */
import {
  type Optimizer,
  scalar,
  square,
  type Tensor,
  train,
  variable,
} from '@tensorflow/tfjs-core';
import { DataLoader, ModelCheckpoint, memoryFiles } from 'highwater';
import { mpiStrategy } from 'highwater/mpi';
import { TfjsModule } from 'highwater/tfjs';
import { useBackend } from './backend.ts';
import { byTrainer } from './by-trainer.ts';
import { BATCH, type Batch, makeBatches, PIXELS, TfjsMlp } from './digits-mlp.ts';
import { median } from './measure.ts';

const STEPS = 100;
/** In one run; five times, as the steps themselves vary more. */
const DECISIONS = 500;

const [, , what, ...given] = process.argv;
const strategy = mpiStrategy();

/** Prints the seconds of an all-reduce of float32 sums, for each size in MB; `allreduce.c` is the same. */
async function allreduce(sizes: readonly string[]): Promise<void> {
  await strategy.setup();
  for (const size of sizes) {
    const values = new Float32Array(Number(size) * 262_144).fill(1);
    const seconds: number[] = [];
    const times = Number(size) < 16 ? 200 : 20;
    for (let i = 0; i < times; i++) {
      await strategy.barrier();
      const began = performance.now();
      await strategy.reduceGradients([values]);
      seconds.push((performance.now() - began) / 1000);
    }
    if (strategy.isGlobalZero) console.log(`${size} ${median(seconds.slice(times / 4))}`);
  }
}

/** Milliseconds of a step of the digits MLP. */
async function stepMs(): Promise<number> {
  await useBackend('wasm');
  const [pool] = makeBatches(1) as [Batch];
  const data = (steps: number) =>
    new DataLoader(
      {
        length: steps * BATCH,
        batch: (indices: Uint32Array): Batch => ({
          x: pool.x.slice(0, indices.length * PIXELS),
          y: pool.y.slice(0, indices.length),
        }),
      },
      { batchSize: BATCH },
    );
  await byTrainer(new TfjsMlp(), data(STEPS / 4));
  return (await byTrainer(new TfjsMlp(), data(STEPS))) / STEPS;
}

/** A step that costs next to nothing. */
class Trifle extends TfjsModule<readonly number[]> {
  readonly weight = variable(scalar(1));

  override trainingStep(): Tensor {
    return square(this.weight);
  }
  override configureOptimizers(): Optimizer {
    return train.sgd(1e-3);
  }
}

/** Milliseconds that a step takes longer when a save is due after it, which then is not made. */
async function decisionMs(): Promise<number> {
  await useBackend('cpu');
  const data = new DataLoader(
    Array.from({ length: 2 * DECISIONS }, (_, i) => i),
    { batchSize: 2 },
  );
  const due = { dirpath: '/c', everyNTrainSteps: 1, saveTopK: 0 };
  const deciding = (): Promise<number> =>
    byTrainer(new Trifle(), data, [new ModelCheckpoint(due)], memoryFiles());
  await deciding();
  const differences: number[] = [];
  for (let i = 0; i < 5; i++) {
    differences.push((await deciding()) - (await byTrainer(new Trifle(), data)));
  }
  return median(differences) / DECISIONS;
}

if (what === 'allreduce') {
  await allreduce(given);
} else {
  const ms = await (what === 'steps' ? stepMs() : decisionMs());
  // As text: on the terminal that OpenMPI gives rank 0, numbers have a colour.
  if (strategy.isGlobalZero) console.log(String(ms));
}
