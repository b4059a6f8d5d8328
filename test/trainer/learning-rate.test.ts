import { describe, expect, it } from 'vitest';
import {
  type LRScheduler,
  type LRSchedulerConfig,
  lambdaLR,
  MisconfigurationError,
  reduceLROnPlateau,
  stepLR,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients, type ScheduledSgd } from '../support/array-module.ts';

/** Notes the rate that each optimizer step is taken with. */
class Scheduled extends ArrayModule {
  readonly rates: number[] = [];
  readonly #lrScheduler: LRScheduler | LRSchedulerConfig;

  constructor(lrScheduler: LRScheduler | LRSchedulerConfig) {
    super({ weight: [0] });
    this.#lrScheduler = lrScheduler;
  }
  override configureOptimizers(): ScheduledSgd {
    return { optimizer: { learningRate: 1 }, lrScheduler: this.#lrScheduler };
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { weight: [1] } };
  }
  override onBeforeOptimizerStep(): void {
    this.rates.push(this.learningRate);
  }
  override validationStep(batch: number): void {
    this.log('val', batch);
  }
}

const half = (): LRScheduler => stepLR({ stepSize: 1, gamma: 0.5 });

async function fit(
  lrScheduler: LRScheduler | LRSchedulerConfig,
  options: TrainerOptions = {},
): Promise<Scheduled> {
  const module = new Scheduled(lrScheduler);
  const trainer = new Trainer({
    maxEpochs: 3,
    logger: false,
    enableProgressBar: false,
    enableCheckpointing: false,
    ...options,
  });
  await trainer.fit(module, { trainDataloaders: [1, 2], valDataloaders: [1] });
  return module;
}

it.each<[string, LRScheduler | LRSchedulerConfig, TrainerOptions, readonly number[]]>([
  ['after each epoch', half(), {}, [1, 1, 0.5, 0.5, 0.25, 0.25]],
  [
    'after each step',
    { scheduler: half(), interval: 'step' },
    {},
    [1, 0.5, 0.25, 0.125, 0.0625, 0.03125],
  ],
  [
    'after every third step',
    { scheduler: half(), interval: 'step', frequency: 3 },
    {},
    [1, 1, 1, 0.5, 0.5, 0.5],
  ],
  ['after every second epoch', { scheduler: half(), frequency: 2 }, {}, [1, 1, 1, 1, 0.5, 0.5]],
  [
    'after optimizer steps, not batches',
    { scheduler: half(), interval: 'step' },
    { accumulateGradBatches: 2 },
    [1, 0.5, 0.25],
  ],
  [
    'when a metric stops getting better',
    {
      scheduler: reduceLROnPlateau({ patience: 0, factor: 0.5 }),
      monitor: 'val',
    },
    {},
    [1, 1, 1, 1, 0.5, 0.5],
  ],
  [
    'after the validation of its step, by the metric that it made',
    {
      scheduler: reduceLROnPlateau({ patience: 0, factor: 0.5 }),
      interval: 'step',
      frequency: 2,
      monitor: 'val',
    },
    {},
    [1, 1, 1, 1, 0.5, 0.5],
  ],
  [
    'from the rate that the schedule begins with',
    { scheduler: lambdaLR((base, step) => base * (step + 0.1)), interval: 'step' },
    { maxEpochs: 1 },
    [0.1, 1.1],
  ],
])('moves on %s', async (_, lrScheduler, options, expected) => {
  expect((await fit(lrScheduler, options)).rates).toEqual(expected);
});

it('works with anything that has step, stateDict and loadStateDict, and sets the rate itself', async () => {
  let steps = 0;
  const module: Scheduled = new Scheduled({
    scheduler: {
      step: () => {
        steps++;
        module.learningRate = 1 / (1 + steps);
      },
      stateDict: () => steps,
      loadStateDict: () => {},
    },
    interval: 'step',
  });
  const quiet = { logger: false, enableProgressBar: false, enableCheckpointing: false };
  await new Trainer({ maxEpochs: 1, ...quiet }).fit(module, { trainDataloaders: [1, 2, 3] });
  expect(module.rates).toEqual([1, 1 / 2, 1 / 3]);
});

describe('refuses before training', () => {
  it.each<[unknown, RegExp]>([
    [{ scheduler: {} }, /lrScheduler\.scheduler is .* step, stateDict and loadStateDict/],
    [{ scheduler: half(), interval: 'batch' }, /lrScheduler\.interval is 'batch'/],
    [{ scheduler: half(), frequency: 0 }, /lrScheduler\.frequency is 0/],
    [{ scheduler: reduceLROnPlateau() }, /lrScheduler\.monitor is undefined/],
    [reduceLROnPlateau(), /lrScheduler\.monitor is undefined/],
  ])('%j', async (lrScheduler, message) => {
    const attempt = fit(lrScheduler as LRSchedulerConfig);
    await expect(attempt).rejects.toThrow(MisconfigurationError);
    await expect(fit(lrScheduler as LRSchedulerConfig)).rejects.toThrow(message);
  });
});

it('names the metric that a schedule misses, or waits for it when it is not strict', async () => {
  const config = { scheduler: reduceLROnPlateau({ patience: 0 }), monitor: 'none' };
  await expect(fit(config)).rejects.toThrow(/monitors 'none', which has not been logged/);
  const warnings: string[] = [];
  const console = { info: () => {}, warn: (message: string) => void warnings.push(message) };
  const { rates } = await fit({ ...config, strict: false }, { console });
  expect(rates).toEqual([1, 1, 1, 1, 1, 1]);
  expect(warnings.filter((message) => message.includes("'none'"))).toHaveLength(1);
});

it('an epoch that a hook cuts short moves no schedule', async () => {
  const module = new Scheduled(half());
  module.onTrainBatchStart = (_batch, batchIdx) => (batchIdx === 1 ? -1 : undefined);
  const trainer = new Trainer({
    maxEpochs: 3,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    enableCheckpointing: false,
  });
  await trainer.fit(module, { trainDataloaders: [1, 2, 3] });
  expect(module.rates).toEqual([1, 1, 1]);
});
