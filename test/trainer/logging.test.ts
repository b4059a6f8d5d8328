import { describe, expect, it } from 'vitest';
import {
  type JsonObject,
  type Logger,
  type LogOptions,
  MisconfigurationError,
  ModelCheckpoint,
  memoryFiles,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

type Row = readonly [step: number, values: Readonly<Record<string, number>>];

class Rows implements Logger {
  readonly saveDir = '.';
  readonly name = 'rows';
  readonly version = 0;
  readonly rows: Row[] = [];
  hyperParameters: JsonObject | undefined;

  logMetrics(values: Readonly<Record<string, number>>, step: number): void {
    this.rows.push([step, values]);
  }
  logHyperparams(hyperParameters: JsonObject): void {
    this.hyperParameters = hyperParameters;
  }
}

class Logging extends ArrayModule<number> {
  readonly #options: LogOptions;

  constructor(options: LogOptions = {}) {
    super({ weight: [0] });
    this.#options = options;
    this.saveHyperparameters({ width: 1, secret: 2 }, { ignore: ['secret'] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('x', batch, this.#options);
    return { loss: 0, gradients: { weight: [1] } };
  }
}

async function fit(
  module: ArrayModule<number>,
  options: TrainerOptions = {},
): Promise<{ rows: readonly Row[]; metrics: unknown; logger: Rows }> {
  const logger = new Rows();
  const trainer = quietTrainer({ maxEpochs: 1, logEveryNSteps: 1, logger, ...options });
  await trainer.fit(module, { trainDataloaders: [4, 1, 7, 2] });
  return { rows: logger.rows, metrics: trainer.callbackMetrics, logger };
}

describe('a value logged in every training step', () => {
  it.each<[LogOptions, Readonly<Record<string, number>>]>([
    [{}, { x: 2 }],
    [{ onEpoch: true }, { x: 3.5, x_step: 2, x_epoch: 3.5 }],
    [{ onStep: false, onEpoch: true }, { x: 3.5 }],
    [{ onStep: false, onEpoch: true, reduceFx: 'sum' }, { x: 14 }],
    [{ onStep: false, onEpoch: true, reduceFx: 'min' }, { x: 1 }],
    [{ onStep: false, onEpoch: true, reduceFx: 'max' }, { x: 7 }],
    [{ onStep: false, onEpoch: true, syncDist: true }, { x: 3.5 }],
    [{ onStep: false, onEpoch: true, batchSize: 3 }, { x: 3.5 }],
    [{ onStep: false, onEpoch: false }, {}],
  ])('with %j ends the epoch as %j', async (options, expected) => {
    expect((await fit(new Logging(options))).metrics).toEqual(expected);
  });

  it('goes to the loggers every so many steps, and its epoch at the end', async () => {
    const { rows } = await fit(new Logging({ onEpoch: true }), { logEveryNSteps: 2 });
    expect(rows).toEqual([
      [1, { epoch: 0, x: 1, x_step: 1 }],
      [3, { epoch: 0, x: 2, x_step: 2 }],
      [3, { epoch: 0, x: 3.5, x_epoch: 3.5 }],
    ]);
  });

  it('stays out of the loggers when it is not for them', async () => {
    const { rows, metrics } = await fit(new Logging({ logger: false }));
    expect(rows).toEqual([]);
    expect(metrics).toEqual({ x: 2 });
  });
});

it('a mean is weighted by batch size, and NaN makes every reduction NaN', async () => {
  class Weighted extends Logging {
    override trainingStep(batch: number): LossAndGradients {
      this.log('mean', batch, { onStep: false, onEpoch: true, batchSize: batch });
      for (const reduceFx of ['mean', 'sum', 'min', 'max'] as const) {
        const value = batch === 7 ? Number.NaN : batch;
        this.log(reduceFx.toUpperCase(), value, { onStep: false, onEpoch: true, reduceFx });
      }
      return super.trainingStep(batch);
    }
  }
  const { metrics } = await fit(new Weighted());
  const nothing = { MEAN: Number.NaN, SUM: Number.NaN, MIN: Number.NaN, MAX: Number.NaN };
  expect(metrics).toEqual({ x: 2, mean: 5, ...nothing });
});

it('a batch size does not count in a least or a greatest value', async () => {
  class Far extends Logging {
    override trainingStep(batch: number): LossAndGradients {
      const options = { onStep: false, onEpoch: true, batchSize: 5 };
      this.log('least', 10 + batch, { ...options, reduceFx: 'min' });
      this.log('greatest', -batch, { ...options, reduceFx: 'max' });
      return super.trainingStep(batch);
    }
  }
  const { metrics } = await fit(new Far());
  expect(metrics).toEqual({ x: 2, least: 11, greatest: -1 });
});

it('logDict logs several at once, and every hook with a batch logs per step', async () => {
  class Hooks extends Logging {
    override onTrainBatchEnd(): void {
      this.logDict({ a: 1, b: 2 });
    }
    override onAfterBackward(): void {
      this.log('c', 3);
    }
    override onTrainEpochStart(): void {
      this.log('start', 4);
    }
    override onTrainEpochEnd(): void {
      this.log('end', 5);
    }
  }
  const { rows } = await fit(new Hooks());
  expect(rows[0]).toEqual([0, { epoch: 0, x: 4, c: 3, a: 1, b: 2 }]);
  expect(rows.at(-1)).toEqual([3, { epoch: 0, start: 4, end: 5 }]);
});

it.each([
  [{ batchSize: 0 }, /batchSize is 0/],
  [{ reduceFx: 'median' }, /reduceFx is median, but it must be mean, sum, min, max/],
])('refuses %j', async (options, message) => {
  const attempt = fit(new Logging(options as LogOptions));
  await expect(attempt).rejects.toThrow(MisconfigurationError);
  await expect(fit(new Logging(options as LogOptions))).rejects.toThrow(message);
});

describe('hyper-parameters', () => {
  it('go to every logger when fit starts, without those that are ignored', async () => {
    const second = new Rows();
    const first = new Rows();
    await fit(new Logging(), { logger: [first, second] });
    expect(first.hyperParameters).toEqual({ width: 1 });
    expect(second.hyperParameters).toEqual({ width: 1 });
    expect(first.rows).toEqual(second.rows);
  });

  it('stay away from them when the Trainer or the module says so', async () => {
    expect((await fit(new Logging(), { enableAutologHparams: false })).logger.hyperParameters).toBe(
      undefined,
    );
    const module = new Logging();
    module.saveHyperparameters({ more: 1 }, { logger: false });
    expect((await fit(module)).logger.hyperParameters).toBe(undefined);
    expect(module.hparams).toEqual({ width: 1, more: 1 });
  });
});

describe('a name that is logged more than once', () => {
  it('from batches and from the end of the epoch has the value logged last, not a mix', async () => {
    class Both extends Logging {
      override onTrainEpochEnd(): void {
        this.log('x', 100);
      }
    }
    const { metrics, rows } = await fit(new Both({ onStep: false, onEpoch: true }));
    expect(metrics).toMatchObject({ x: 100 });
    expect(rows.at(-1)?.[1]).toMatchObject({ x: 100 });
    const perStep = await fit(new Both());
    expect(perStep.rows.at(-1)?.[1]).toMatchObject({ x: 100 });
  });

  it('has one reduction', async () => {
    class Twice extends Logging {
      override trainingStep(batch: number): LossAndGradients {
        this.log('x', batch, { onEpoch: true, reduceFx: 'sum' });
        this.log('x', batch, { onEpoch: true, reduceFx: 'max' });
        return super.trainingStep(batch);
      }
    }
    await expect(fit(new Twice())).rejects.toThrow(
      "log('x'): reduceFx is 'max', but 'sum' was given before",
    );
  });

  it('is refused where it is logged, so that no step is taken which a save would not count', async () => {
    class Fickle extends Logging {
      override trainingStep(batch: number): LossAndGradients {
        const reduceFx = batch === 7 ? 'sum' : 'max';
        this.log('x', batch, { onEpoch: true, reduceFx });
        return { loss: 0, gradients: { weight: [1] } };
      }
    }
    const module = new Fickle();
    const storage = memoryFiles();
    const checkpoint = new ModelCheckpoint({
      dirpath: '/c',
      filename: '{step}',
      saveOnException: true,
    });
    const options = { storage, callbacks: checkpoint, enableCheckpointing: true };
    await expect(fit(module, options)).rejects.toMatchObject({ code: 'MISCONFIGURATION' });
    // Two steps of 0.125 each.
    expect([...module.weight('weight')]).toEqual([-0.25]);
    expect(await storage.stat('/c/step=2.ckpt')).toBeDefined();
  });
});

describe('a value logged in every validation step', () => {
  class Validating extends Logging {
    readonly #how: LogOptions;
    constructor(how: LogOptions) {
      super();
      this.#how = how;
    }
    override validationStep(batch: number): void {
      this.log('v', batch, this.#how);
    }
  }
  async function validate(how: LogOptions) {
    const logger = new Rows();
    const trainer = quietTrainer({ logger });
    const result = await trainer.validate(new Validating(how), { dataloaders: [4, 5, 6] });
    const { callbackMetrics, loggedMetrics } = trainer;
    return { rows: logger.rows, result, callbackMetrics, loggedMetrics };
  }

  it('goes to the loggers batch by batch with onStep', async () => {
    const { rows, result, callbackMetrics } = await validate({ onStep: true, onEpoch: false });
    expect(rows.map(([, { v }]) => v)).toEqual([4, 5, 6]);
    expect(callbackMetrics).toEqual({ v: 6 });
    expect(result).toEqual([{}]);
  });

  it('goes to both with onStep and onEpoch; the result is that of the epoch', async () => {
    const { rows, result, loggedMetrics } = await validate({ onStep: true, onEpoch: true });
    expect(rows.map(([, { v_step }]) => v_step)).toEqual([4, 5, 6, undefined]);
    expect(rows.at(-1)?.[1]).toMatchObject({ v: 5, v_epoch: 5 });
    expect(result).toEqual([{ v: 5, v_epoch: 5 }]);
    expect(loggedMetrics).toEqual({ v: 5, v_step: 6, v_epoch: 5 });
  });
});

it.each(['onValidationEnd', 'onTrainEnd'] as const)(
  'refuses to log in %s, where a value would belong to no epoch',
  async (hook) => {
    const module = Object.assign(new Logging(), { validationStep: () => {} });
    module[hook] = () => module.log('late', 1);
    const trainer = quietTrainer({ maxEpochs: 1, numSanityValSteps: 0 });
    const data = { trainDataloaders: [1], valDataloaders: [1] };
    await expect(trainer.fit(module, data)).rejects.toThrow('nothing can be logged in this hook');
  },
);

it('gives what was logged after fit too', async () => {
  const logger = new Rows();
  const trainer = quietTrainer({ maxEpochs: 1, logger });
  await trainer.fit(new Logging({ progBar: true }), { trainDataloaders: [4, 1] });
  expect(trainer.loggedMetrics).toEqual({ x: 1 });
  expect(trainer.progressBarMetrics).toEqual({ x: 1 });
});
