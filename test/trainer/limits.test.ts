import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DataLoader, ModelCheckpoint, type TrainerOptions } from '../../src/index.ts';
import { type HookCall, quietTrainer, RecordedModule } from '../support/recorded-hooks.ts';

/** The batches of each step, in order. */
async function batches(
  options: TrainerOptions,
  train: Iterable<number> | AsyncIterable<number> = [1, 2, 3, 4],
  val: Iterable<number> = [5, 6, 7],
): Promise<{ train: unknown[]; val: unknown[] }> {
  const calls: HookCall[] = [];
  const trainer = quietTrainer({ maxEpochs: 1, numSanityValSteps: 0, ...options });
  const data = { trainDataloaders: train, valDataloaders: val };
  await trainer.fit(new RecordedModule(calls, []), data);
  const of = (step: string): unknown[] =>
    calls.filter(({ name }) => name === `module.${step}`).map(({ args }) => args[0]);
  return { train: of('trainingStep'), val: of('validationStep') };
}

it.each<[TrainerOptions, number, number]>([
  [{}, 4, 3],
  [{ limitTrainBatches: 0.5, limitValBatches: 0.4 }, 2, 1],
  [{ limitTrainBatches: 3, limitValBatches: 2 }, 3, 2],
  [{ limitTrainBatches: { batches: 1 }, limitValBatches: 0 }, 1, 0],
  [{ limitTrainBatches: 1, limitValBatches: 1 }, 4, 3],
  [{ overfitBatches: 1 }, 1, 1],
  [{ overfitBatches: 0.5 }, 2, 1],
  [{ fastDevRun: true, maxEpochs: 9 }, 1, 1],
  [{ fastDevRun: 2 }, 2, 2],
])('%j trains on %i batches and validates on %i', async (options, train, val) => {
  const seen = await batches(options);
  expect(seen.train).toHaveLength(train);
  expect(seen.val).toHaveLength(val);
});

it('overfitBatches gives the same batches in every epoch, also of a loader that shuffles', async () => {
  const loader = new DataLoader([1, 2, 3, 4], { shuffle: true, collate: ([item]) => item ?? 0 });
  const shuffled = await batches({ limitTrainBatches: 2, maxEpochs: 3 }, loader);
  expect(new Set(shuffled.train).size).toBeGreaterThan(2);
  const { train } = await batches({ overfitBatches: 2, maxEpochs: 3 }, loader);
  expect(train).toEqual([1, 2, 1, 2, 1, 2]);
});

describe('data without a length', () => {
  const endless = {
    *[Symbol.iterator]() {
      for (let i = 0; ; i++) yield i;
    },
  };
  it('trains until a limit is reached', async () => {
    expect((await batches({ maxEpochs: -1, maxSteps: 5 }, endless)).train).toEqual([0, 1, 2, 3, 4]);
    const limited = await batches({ maxEpochs: 2, limitTrainBatches: 2 }, endless);
    expect(limited.train).toEqual([0, 1, 0, 1]);
  });
  it('is validated on so many batches as the limit says', async () => {
    expect((await batches({ limitValBatches: 2 }, [1], endless)).val).toEqual([0, 1]);
  });
  it('says that a fraction of it cannot be', async () => {
    const attempt = batches({ limitTrainBatches: 0.5 }, endless);
    await expect(attempt).rejects.toThrow(/limitTrainBatches is the fraction 0\.5/);
  });
});

describe('what ends training', () => {
  /** Asks for the end of training in its first step. */
  class Impatient extends RecordedModule {
    override onAfterBackward = (): void => {
      this.trainer.shouldStop = true;
    };
  }
  async function steps(options: TrainerOptions): Promise<number> {
    const trainer = quietTrainer({ maxEpochs: 5, ...options });
    await trainer.fit(new Impatient([], []), { trainDataloaders: [1, 2, 3] });
    return trainer.globalStep;
  }
  it.each<[TrainerOptions, number]>([
    [{}, 1],
    [{ minEpochs: 2 }, 6],
    [{ minSteps: 5 }, 5],
    [{ minEpochs: 1, minSteps: 5 }, 5],
    [{ minEpochs: 9 }, 15],
    [{ minSteps: 2, maxSteps: 4 }, 2],
  ])('shouldStop is heeded once %j is reached: after %i steps', async (options, expected) => {
    expect(await steps(options)).toBe(expected);
  });

  it('maxTime ends training after the batch in which it is reached, minSteps first', async () => {
    const fit = async (options: TrainerOptions): Promise<number> => {
      const trainer = quietTrainer({ maxEpochs: 3, ...options });
      await trainer.fit(new RecordedModule([], []), { trainDataloaders: [1, 2, 3] });
      return trainer.globalStep;
    };
    expect(await fit({ maxTime: { hours: 1 } })).toBe(9);
    expect(await fit({ maxTime: 0, minSteps: 4 })).toBe(4);
    // It is reached before the first epoch begins.
    expect(await fit({ maxTime: 0 })).toBe(0);
  });
});

it('a second fit on one Trainer goes on where the first was stopped, with its random numbers', async () => {
  const drawn: number[] = [];
  class Drawing extends RecordedModule {
    override onTrainBatchStart = (): void => void drawn.push(this.rng.nextUint32());
  }
  const fit = async (stops: readonly number[]): Promise<unknown> => {
    drawn.length = 0;
    const calls: HookCall[] = [];
    const module = new Drawing(calls, []);
    const trainer = quietTrainer({ maxEpochs: 3, seed: 4 });
    const train = new DataLoader([1, 2, 3], { shuffle: true, collate: ([item]) => item ?? 0 });
    for (const stopAfter of [...stops, undefined]) {
      const controller = new AbortController();
      module.onTrainBatchEnd = (): void => {
        if (trainer.globalStep === stopAfter) controller.abort();
      };
      const { signal } = controller;
      const run = trainer.fit(module, { trainDataloaders: train, signal });
      await run.catch((error: unknown) => {
        if (!signal.aborted) throw error;
      });
    }
    const seen = calls.filter(({ name }) => name === 'module.trainingStep').map(({ args }) => args);
    return {
      seen,
      drawn: [...drawn],
      weight: [...module.weight('weight')],
      at: trainer.globalStep,
    };
  };
  const whole = await fit([]);
  expect(whole).toMatchObject({ at: 9 });
  expect(await fit([2, 3, 7])).toEqual(whole);
});

it('a second fit with other data begins the epoch that was left anew', async () => {
  const trainer = quietTrainer({ maxEpochs: 1 });
  const calls: HookCall[] = [];
  const controller = new AbortController();
  const module = new RecordedModule(calls, []);
  module.onTrainBatchEnd = (): void => controller.abort();
  const stopped = trainer.fit(module, { trainDataloaders: [1, 2], signal: controller.signal });
  await expect(stopped).rejects.toThrow('interrupted');
  await trainer.fit(module, { trainDataloaders: [3, 4] });
  const seen = calls
    .filter(({ name }) => name === 'module.trainingStep')
    .map(({ args }) => args[0]);
  expect(seen).toEqual([1, 3, 4]);
  expect(trainer.currentEpoch).toBe(1);
});

it('maxTime counts on over resumes: the time trained is part of the checkpoint', async () => {
  const root = await mkdtemp(join(tmpdir(), 'highwater-limits-'));
  try {
    const fit = async (maxTime: number, maxEpochs: number): Promise<number> => {
      const callbacks = new ModelCheckpoint({ dirpath: root, saveLast: true });
      const trainer = quietTrainer({ maxEpochs, maxTime, callbacks, enableCheckpointing: true });
      const data = { trainDataloaders: [1, 2], ckptPath: 'last' };
      await trainer.fit(new RecordedModule([], []), data);
      return trainer.globalStep;
    };
    expect(await fit(3_600_000, 1)).toBe(2);
    // Less than what the first run has taken.
    expect(await fit(0.001, 5)).toBe(2);
    expect(await fit(3_600_000, 3)).toBe(6);
  } finally {
    await rm(root, { recursive: true });
  }
});

it.each(['limitTrainBatches', 'limitValBatches', 'overfitBatches'] as const)(
  'refuses %s that is less than one batch',
  async (option) => {
    const trainer = quietTrainer({ maxEpochs: 1, [option]: 0.1 });
    const data = { trainDataloaders: [1, 2, 3, 4, 5], valDataloaders: [1, 2, 3, 4, 5] };
    await expect(trainer.fit(new RecordedModule([], []), data)).rejects.toThrow(
      /is the fraction 0.1, which is less than one of 5 batches. Give at least 0.2/,
    );
  },
);
