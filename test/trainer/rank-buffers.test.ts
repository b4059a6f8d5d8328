import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, it } from 'vitest';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { DataLoader, type Strategy, Trainer } from '../../src/index.ts';
import { Share } from '../../src/trainer/share.ts';
import type { LossAndGradients } from '../support/array-module.ts';
import { localRanks } from '../support/local-ranks.ts';
import { expectClose, Line, train, weightsOf } from '../support/ranked-training.ts';

/** Fits the sign of two coordinates, which are far apart from rank to rank, by way of BatchNorm. */
class Normalised extends TfjsModule<readonly number[]> {
  readonly model = layers.sequential({
    layers: [
      layers.layers.dense({ units: 3, inputShape: [2], name: 'dense' }),
      layers.layers.batchNormalization({ name: 'norm', momentum: 0.5 }),
      layers.layers.dense({ units: 1, name: 'out' }),
    ],
  });
  /** Counts the batches that rank 0 has seen; not a number that training changes. */
  readonly seen = tf.variable(tf.scalar(0, 'int32'), false, undefined, 'int32');

  trainingStep(items: readonly number[]): tf.Tensor {
    const x = tf.tensor2d(items.map((item) => [item, Math.sin(item)]));
    const y = this.model.apply(x, { training: true }) as tf.Tensor;
    this.seen.assign(tf.add(this.seen, tf.scalar(items.length, 'int32')));
    return tf.mean(tf.square(tf.sub(y, tf.tensor2d(items.map((item) => [item % 2])))));
  }
  configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.05);
  }

  async values(): Promise<Record<string, number[]>> {
    const values: Record<string, number[]> = {};
    for (const { group, name, handle } of this.state()) {
      if (group === 'model') values[name] = [...(await (handle as tf.Variable).data())];
    }
    return values;
  }
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** What each rank had after every batch, and in the end. */
async function trainNormalised(
  strategies: readonly Strategy[],
  trainer: { readonly accumulateGradBatches?: number } = {},
): Promise<readonly (readonly Record<string, number[]>[])[]> {
  return await Promise.all(
    strategies.map(async (strategy) => {
      const seen: Record<string, number[]>[] = [];
      const module = new Normalised();
      await new Trainer({
        maxEpochs: 2,
        strategy,
        logger: false,
        enableCheckpointing: false,
        enableProgressBar: false,
        enableModelSummary: false,
        ...trainer,
        callbacks: [{ onTrainBatchEnd: async () => void seen.push(await module.values()) }],
      }).fit(module, {
        trainDataloaders: new DataLoader(
          Array.from({ length: 22 }, (_, i) => i),
          { batchSize: 6, shuffle: true },
        ),
      });
      seen.push(await module.values());
      return seen;
    }),
  );
}

it.each([1, 2])(
  'moving statistics are the same on all ranks after every batch: those of rank 0 (accumulating %i)',
  async (accumulateGradBatches) => {
    const [zero, one] = await trainNormalised(localRanks(2), { accumulateGradBatches });
    expect(zero).toHaveLength(9);
    expect(one).toEqual(zero);
    const mean = zero?.map((values) => values['model.norm.moving_mean']);
    expect(new Set(mean?.map(String)).size).toBe(8);
    // Half of each batch of 6, and of the last of 4.
    expect(zero?.map(({ seen }) => seen?.[0])).toEqual([3, 6, 9, 11, 14, 17, 20, 22, 22]);
  },
);

/** Counts the bytes of buffers that are read, and the aliases that are there. */
class Frozen extends Line {
  readonly reads: string[] = [];
  readonly held = new Map<unknown, number>();

  constructor() {
    super({ changing: [0, 0, 0], frozen: [1, 2, 3, 4, 5], still: [6, 7, 8, 9], too: [9, 9, 9, 9] });
  }
  override trainingStep(items: readonly number[]): LossAndGradients {
    if (this.globalStep === 2) this.replace('changing', [this.globalStep, items.length, 1]);
    return super.trainingStep(items);
  }
  override async read(handle: unknown): Promise<Uint8Array> {
    const { length } = handle as Float32Array;
    const name = { 3: 'changing', 4: 'still', 5: 'frozen' }[length];
    if (name !== undefined) this.reads.push(`${name} at ${this.globalStep}`);
    return await super.read(handle);
  }
  override retain(handle: unknown): unknown {
    this.held.set(handle, (this.held.get(handle) ?? 0) + 1);
    return super.retain(handle);
  }
  override release(handle: unknown): void {
    const held = (this.held.get(handle) ?? 0) - 1;
    if (held === 0) this.held.delete(handle);
    else if (typeof handle !== 'number') this.held.set(handle, held);
  }
}

describe('what no rank has changed', () => {
  const job = {
    ranks: 2,
    checkpoints: [],
    trainer: { maxEpochs: 1, limitValBatches: 0, numSanityValSteps: 0, enableCheckpointing: false },
  };

  /** What rank 0 sends and asks about as many weights as there are buffers. */
  async function callsFor(module: () => Line, buffers: number): Promise<readonly string[]> {
    const calls: string[] = [];
    const strategies = localRanks(2).map((strategy): Strategy => {
      if (!strategy.isGlobalZero) return strategy;
      return {
        ...strategy,
        broadcastTensor: async (bytes) => {
          calls.push(`send ${bytes.length}`);
          await strategy.broadcastTensor(bytes);
        },
        reduce: async (values, how) => {
          if (values.length === buffers && how === 'max') calls.push('ask');
          return await strategy.reduce(values, how);
        },
      };
    });
    const all = await train({ ...job, strategies, module });
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
    return calls.slice(calls.indexOf('ask'));
  }

  it('is not sent', async () => {
    // The first batch is the first to tell which weights have a gradient.
    expect(await callsFor(() => new Frozen(), 4)).toEqual([
      ...['ask', 'send 72'],
      'ask',
      ...['ask', 'send 16'],
      ...['ask', 'ask'],
    ]);
  });

  it('is not even asked about where every weight has a gradient', async () => {
    const calls = await callsFor(() => new Line(), 0);
    expect(calls).not.toContain('ask');
  });

  it('is not read again, and nothing is kept of it beyond the fit', async () => {
    const all = await train({ ...job, module: () => new Frozen() });
    const [zero, one] = all.map(({ module }) => module as Frozen);
    const start = ['changing at 0', 'frozen at 0', 'still at 0', 'still at 0'];
    // Before training rank 0 gives the others its weights and velocities, then what are buffers.
    const given = [...start, ...start];
    expect(zero?.reads).toEqual([...given, ...start, ...Array(3).fill('changing at 2')]);
    expect(one?.reads).toEqual(Array(2).fill('changing at 2'));
    expect(zero?.weight('changing')).toEqual(Float32Array.of(2, 3, 1));
    expect(one?.weight('changing')).toEqual(zero?.weight('changing'));
    expect([...(zero?.held ?? []), ...(one?.held ?? [])]).toEqual([]);
  });
});

it.each([0, 1])(
  'a stand-in adds nothing to the gradients, on rank %i: not even a NaN, nor takes from what is accumulated',
  async (idle) => {
    const batches = [[1, 2], [3], [4, 5, 6], [7]];
    /** Of every second batch one rank has nothing. */
    class Source {
      readonly length = batches.length;
      readonly rank: number | undefined;
      constructor(rank?: number) {
        this.rank = rank;
      }
      *[Symbol.iterator](): Generator<Share<readonly number[]> | readonly number[]> {
        for (const [i, batch] of batches.entries()) {
          if (this.rank === undefined) yield batch;
          else if (i % 2 === 0) yield new Share(batch, 0.5);
          else yield this.rank === idle ? new Share([Number.NaN], 0) : new Share(batch, 1);
        }
      }
      shard(rank: number): Source {
        return new Source(rank);
      }
    }
    const job = {
      trainer: { accumulateGradBatches: 2, maxEpochs: 2 },
      fit: () => ({ trainDataloaders: new Source() as never }),
    };
    const [alone] = await train({ ...job, ranks: 1 });
    const all = await train({ ...job, ranks: 2 });
    for (const rank of all) {
      expect(rank.error).toBeUndefined();
      expectClose(weightsOf(rank), weightsOf(alone!));
    }
  },
);
