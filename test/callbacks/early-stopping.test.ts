import { describe, expect, it } from 'vitest';
import {
  EarlyStopping,
  type EarlyStoppingOptions,
  MisconfigurationError,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

/** Logs one given value in each validation. */
class Scripted extends ArrayModule<number> {
  readonly #values: readonly number[];
  #validations = 0;

  constructor(values: readonly number[]) {
    super({ weight: [0] });
    this.#values = values;
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch, { onStep: false, onEpoch: true });
    return { loss: 0, gradients: { weight: [1] } };
  }
  override validationStep(): void {
    this.log('val', this.#values[this.#validations++] ?? 0);
  }
}

const worse = [5, 4, 6, 7, 3, 8, 9, 10, 11, 12];

async function stop(
  options: EarlyStoppingOptions,
  values: readonly number[] = worse,
  trainer: TrainerOptions = {},
): Promise<{ epochs: number; callback: EarlyStopping; messages: readonly string[] }> {
  const callback = new EarlyStopping(options);
  const messages: string[] = [];
  const push = (message: string): void => void messages.push(message);
  const running = quietTrainer({
    maxEpochs: 10,
    numSanityValSteps: 0,
    callbacks: callback,
    console: { info: push, warn: push },
    ...trainer,
  });
  const data = { trainDataloaders: [1, 2], valDataloaders: [1] };
  await running.fit(new Scripted(values), data);
  return { epochs: running.currentEpoch, callback, messages };
}

const val = { monitor: 'val' } as const;

it.each<[string, EarlyStoppingOptions, readonly number[], number]>([
  ['after three checks without anything better', val, worse, 8],
  ['after as many as patience says', { ...val, patience: 2 }, worse, 4],
  ['at the first one when patience is 0', { ...val, patience: 0 }, [5, 4, 4], 3],
  ['when greater is better', { ...val, mode: 'max', patience: 2 }, [5, 6, 5, 5, 9], 4],
  ['when it gets better by less than minDelta', { ...val, minDelta: 2, patience: 2 }, [9, 8, 7], 3],
  ['at an equal value as at a worse one', { ...val, patience: 2 }, [5, 5, 5, 1], 3],
  ['at NaN', val, [5, Number.NaN, 4], 2],
  ['at Infinity', val, [5, Number.POSITIVE_INFINITY, 4], 2],
  ['not at NaN when it need not be finite', { ...val, checkFinite: false }, [5, NaN, 4, 3], 7],
  ['past the stopping threshold', { ...val, stoppingThreshold: 4.5 }, worse, 2],
  ['past the divergence threshold', { ...val, divergenceThreshold: 6.5 }, worse, 4],
  ['of training metrics as well', { monitor: 'loss' }, worse, 4],
])('stops %s', async (_, options, values, epochs) => {
  const padded = [...values, ...Array(10).fill(values.at(-1))] as number[];
  const found = await stop(options, padded);
  expect(found.epochs).toBe(epochs);
  expect(found.callback.stoppedEpoch).toBe(epochs - 1);
});

it('does not stop as long as it gets better', async () => {
  const { epochs, callback } = await stop(val, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
  expect([epochs, callback.stoppedEpoch, callback.bestScore]).toEqual([10, 0, 1]);
});

describe('checks', () => {
  it('at each validation when there are several in an epoch', async () => {
    const { epochs } = await stop({ ...val, patience: 3 }, worse, { valCheckInterval: 0.5 });
    expect(epochs).toBe(4);
  });
  it('a value once, when it was measured: epochs without a validation do not count', async () => {
    const options = { ...val, patience: 2, checkOnTrainEpochEnd: true, strict: false };
    const { epochs } = await stop(options, [5, 6, 7, 8], { checkValEveryNEpoch: 2 });
    expect(epochs).toBe(6);
  });
  it('not in the sanity check', async () => {
    const { epochs } = await stop(val, [0, ...worse], { numSanityValSteps: 2 });
    expect(epochs).toBe(8);
  });
  it('with minEpochs in mind', async () => {
    expect((await stop({ ...val, patience: 0 }, worse, { minEpochs: 6 })).epochs).toBe(6);
  });
});

it('names a metric that is missing, or waits for it when it is not strict', async () => {
  const missing = stop({ monitor: 'none' });
  await expect(missing).rejects.toThrow(/monitors 'none', .*there is 'loss', 'val'|'val', 'loss'/);
  const { epochs, messages } = await stop({ monitor: 'none', strict: false });
  expect(epochs).toBe(10);
  expect(messages.filter((message) => message.includes("'none'"))).toHaveLength(1);
});

it('says why when it is verbose', async () => {
  const { messages } = await stop({ ...val, verbose: true, patience: 1 }, [5, 4, 6]);
  expect(messages).toEqual([
    "EarlyStopping: 'val' improved to 5",
    "EarlyStopping: 'val' improved from 5 to 4",
    "EarlyStopping: 'val' has not improved on 4 in 1 checks: training stops",
  ]);
});

it.each<[EarlyStoppingOptions, RegExp]>([
  [{ monitor: '' }, /monitor is ''/],
  [{ ...val, patience: -1 }, /patience is -1/],
  [{ ...val, minDelta: -1 }, /minDelta is -1/],
  [{ ...val, mode: 'best' as never }, /mode is 'best'/],
  [{ ...val, stoppingThreshold: Number.NaN }, /stoppingThreshold is NaN/],
])('refuses %j', (options, message) => {
  expect(() => new EarlyStopping(options)).toThrow(MisconfigurationError);
  expect(() => new EarlyStopping(options)).toThrow(message);
});

it('judges the metric of an epoch at the next validation, once, also when there are several', async () => {
  class Epochs extends Scripted {
    override onTrainEpochEnd(): void {
      this.log('whole', 1);
    }
  }
  const callback = new EarlyStopping({ monitor: 'whole', patience: 2, strict: false });
  const trainer = quietTrainer({
    maxEpochs: 10,
    valCheckInterval: 0.5,
    numSanityValSteps: 0,
    callbacks: callback,
  });
  const data = { trainDataloaders: [1, 2, 3, 4], valDataloaders: [1] };
  await trainer.fit(new Epochs(worse), data);
  // Judged in epochs 1 (the first value), 2 and 3.
  expect(callback.bestScore).toBe(1);
  expect(callback.waitCount).toBe(2);
  expect(callback.stoppedEpoch).toBe(3);
});
