import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as layers from '@tensorflow/tfjs-layers';
import { beforeAll, expect, it } from 'vitest';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { DataLoader, type Strategy, Trainer } from '../../src/index.ts';
import { Share } from '../../src/trainer/share.ts';
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

it('what no rank has changed is not sent; nothing is even asked where every weight has a gradient', async () => {
  const callsFor = async (module: () => Line): Promise<readonly string[]> => {
    const calls: string[] = [];
    const strategies = localRanks(2).map((strategy): Strategy => {
      if (!strategy.isGlobalZero) return strategy;
      return {
        ...strategy,
        broadcastTensor: async (bytes) => {
          calls.push(`send ${bytes.length}`);
          await strategy.broadcastTensor(bytes);
        },
        reduceBoolean: async (value, over) => {
          calls.push('ask');
          return await strategy.reduceBoolean(value, over);
        },
      };
    });
    const all = await train({ ranks: 2, strategies, module, trainer: { maxEpochs: 1 } });
    expect(all.map(({ error }) => error)).toEqual([undefined, undefined]);
    return calls.filter((call) => call === 'ask' || call === 'send 16');
  };
  expect(await callsFor(() => new Line())).toEqual([]);
  // The first batch is the first to tell which weights have a gradient.
  const frozen = await callsFor(() => new Line({ frozen: [1, 2, 3] }));
  expect(frozen).toEqual(['ask', 'send 16', 'ask', 'ask', 'ask', 'ask']);
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
