import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CheckpointFileError,
  CheckpointMismatchError,
  EarlyStopping,
  type FitOptions,
  HighwaterError,
  MisconfigurationError,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

class Model extends ArrayModule {
  logged: unknown = 1;

  constructor(weights: Record<string, number[]> = { a: [0, 0], b: [0] }) {
    super(weights);
  }
  override trainingStep(): LossAndGradients {
    this.log('loss', this.logged);
    return { loss: 0, gradients: { a: [1, 1] } };
  }
  override validationStep(): void {
    this.log('val_loss', 1);
  }
}

/** A module of JavaScript, where nobody asks for a method. */
function without(method: 'trainingStep' | 'validationStep' | 'configureOptimizers'): Model {
  class Bare extends Model {}
  Object.defineProperty(Bare.prototype, method, { value: undefined });
  return new Bare();
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-bad-'));
});
afterEach(() => rm(root, { recursive: true }));

const quiet = {
  logger: false,
  enableProgressBar: false,
  console: { info: () => {}, warn: () => {} },
};

interface Attempt {
  readonly trainer?: TrainerOptions;
  readonly checkpoint?: ModelCheckpointOptions;
  readonly fit?: FitOptions;
  readonly module?: Model;
}

async function fit(attempt: Attempt = {}): Promise<ModelCheckpoint> {
  const checkpoint = new ModelCheckpoint({ dirpath: join(root, 'c'), ...attempt.checkpoint });
  const trainer = new Trainer({
    ...quiet,
    maxEpochs: 1,
    defaultRootDir: root,
    callbacks: [checkpoint],
    ...attempt.trainer,
  });
  const module = attempt.module ?? new Model();
  await trainer.fit(module, { trainDataloaders: [1, 2], valDataloaders: [1], ...attempt.fit });
  return checkpoint;
}

describe('ModelCheckpoint refuses before any training', () => {
  it.each<[ModelCheckpointOptions, RegExp]>([
    [{ saveTopK: -2 }, /saveTopK is -2, but it must be an integer of at least -1/],
    [{ saveTopK: 1.5 }, /saveTopK is 1\.5/],
    [{ saveTopK: Number.NaN }, /saveTopK is NaN/],
    [{ saveTopK: 2 }, /saveTopK is 2, .*-1, 0 or 1 without 'monitor'/],
    [{ mode: 'best' as never }, /mode is 'best', but it must be 'min' or 'max'/],
    [{ monitor: '' }, /monitor is ''/],
    [{ everyNTrainSteps: -1 }, /everyNTrainSteps is -1/],
    [{ everyNEpochs: 0.5 }, /everyNEpochs is 0\.5/],
    [{ everyNValEpochs: -1 }, /everyNEpochs is -1/],
    [{ trainTimeInterval: -5 }, /trainTimeInterval/],
    [{ trainTimeInterval: { hours: Number.NaN } }, /trainTimeInterval/],
    [{ everyNTrainSteps: 2, everyNEpochs: 1 }, /more than one is active/],
    [{ everyNTrainSteps: 2, trainTimeInterval: 0 }, /more than one is active/],
    [{ filename: '{epoch' }, /filename .*'\{epoch'/],
    [{ filename: '{loss:q}' }, /filename .*\{loss:q\}/],
    [{ filename: '../{epoch}' }, /filename.*stay inside/s],
    [{ filename: '/abs-{epoch}' }, /filename.*stay inside/s],
    [{ filename: 'a\0b' }, /filename/],
    [{ filename: 'x'.repeat(300) }, /filename.*255/s],
  ])('%j', (options, message) => {
    expect(() => new ModelCheckpoint(options)).toThrow(MisconfigurationError);
    expect(() => new ModelCheckpoint(options)).toThrow(message);
  });
});

describe('Trainer refuses before any training', () => {
  it.each<[TrainerOptions, RegExp]>([
    [{ maxEpochs: -2 }, /maxEpochs is -2/],
    [{ maxSteps: 1.5 }, /maxSteps is 1\.5/],
    [{ accumulateGradBatches: 0 }, /accumulateGradBatches is 0/],
    [{ valCheckInterval: 0 }, /valCheckInterval is 0/],
    [{ valCheckInterval: 1.5 }, /valCheckInterval is 1\.5/],
    [{ valCheckInterval: 0.5, checkValEveryNEpoch: null }, /valCheckInterval is 0\.5/],
    [{ checkValEveryNEpoch: 0 }, /checkValEveryNEpoch is 0/],
    [{ limitTrainBatches: -1 }, /limitTrainBatches is -1/],
    [{ limitValBatches: 2.5 }, /limitValBatches is 2\.5/],
    [{ gradientClipVal: -1 }, /gradientClipVal is -1/],
    [{ gradientClipAlgorithm: 'max' as never }, /gradientClipAlgorithm is 'max'/],
    [{ numSanityValSteps: -2 }, /numSanityValSteps is -2/],
    [{ seed: -1 }, /seed is -1/],
    [{ fastDevRun: -1 }, /fastDevRun is -1/],
    [
      { enableCheckpointing: false, callbacks: new ModelCheckpoint() },
      /enableCheckpointing is false/,
    ],
  ])('%j', (options, message) => {
    expect(() => new Trainer(options)).toThrow(MisconfigurationError);
    expect(() => new Trainer(options)).toThrow(message);
  });

  it.each<[TrainerOptions, RegExp]>([
    [
      { callbacks: ModelCheckpoint as never },
      /callbacks is the class ModelCheckpoint, .*new ModelCh/,
    ],
    [{ callbacks: [false] as never }, /callbacks is false/],
    [{ logger: 'csv' as never }, /logger is 'csv'/],
  ])('what is no callback or logger: %j', (options, message) => {
    expect(() => new Trainer(options)).toThrow(MisconfigurationError);
    expect(() => new Trainer(options)).toThrow(message);
  });

  it.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /the module is undefined, but it must be an instance/],
    ['a class', Model, /the module is the class Model, but it must be an instance/],
    ['no trainingStep', without('trainingStep'), /Bare has no trainingStep\(\) method/],
    ['no optimizer', without('configureOptimizers'), /Bare has no configureOptimizers\(\) method/],
  ])('a module that is, or has, %s', async (_, module, message) => {
    const attempt = new Trainer({ ...quiet, maxEpochs: 1 }).fit(module as Model, {});
    await expect(attempt).rejects.toThrow(MisconfigurationError);
    await expect(attempt).rejects.toThrow(message);
  });

  it.each([
    [5, /is 5, but it must be an array, a DataLoader or another iterable/],
    [Promise.resolve([]), /is a Promise/],
    [function* batches() {}, /is the function batches/],
  ])('data that gives no batches: %s', async (data, message) => {
    for (const option of ['trainDataloaders', 'valDataloaders']) {
      const attempt = fit({ fit: { [option]: data } as FitOptions });
      await expect(attempt).rejects.toThrow(MisconfigurationError);
      await expect(attempt).rejects.toThrow(message);
    }
    const attempt = new Trainer(quiet).validate(new Model(), { dataloaders: data as never });
    await expect(attempt).rejects.toThrow(message);
  });

  it('an interval longer than the epoch', async () => {
    const attempt = fit({ trainer: { valCheckInterval: 3 } });
    await expect(attempt).rejects.toThrow(/valCheckInterval is 3 batches, but an epoch has 2/);
  });

  it('empty training data, or none', async () => {
    await expect(fit({ fit: { trainDataloaders: [] } })).rejects.toThrow(/training data is empty/);
    const generator = (function* () {})();
    const endless = fit({ fit: { trainDataloaders: generator } });
    await expect(endless).rejects.toThrow(/gave no batch in epoch 0/);
    await expect(fit({ fit: { trainDataloaders: undefined } })).rejects.toThrow(/no training data/);
  });

  it('a link as last file where the storage has none', async () => {
    const { memoryFiles } = await import('../../src/index.ts');
    const storage = { ...memoryFiles(), supportsSymlinks: false };
    const attempt = fit({ trainer: { storage }, checkpoint: { saveLast: 'link' } });
    await expect(attempt).rejects.toThrow(/has no symbolic links/);
  });
});

describe('as ckptPath', () => {
  it('a missing file is named', async () => {
    const attempt = fit({ fit: { ckptPath: join(root, 'none.ckpt') } });
    await expect(attempt).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' });
    await expect(attempt).rejects.toThrow(/none\.ckpt/);
  });

  it('a folder is told from a file', async () => {
    await expect(fit({ fit: { ckptPath: root } })).rejects.toThrow(/is a folder/);
  });

  it('a weights-only file is said to be one', async () => {
    const { bestModelPath } = await fit({ checkpoint: { saveWeightsOnly: true } });
    const attempt = fit({ fit: { ckptPath: bestModelPath } });
    await expect(attempt).rejects.toThrow(/weights-only checkpoint/);
    await expect(attempt).rejects.toThrow(MisconfigurationError);
  });

  it('a truncated file is refused with the byte where it ends, and left alone', async () => {
    const { bestModelPath } = await fit();
    const whole = await readFile(bestModelPath);
    await truncate(bestModelPath, whole.length - 5);
    const attempt = fit({ fit: { ckptPath: bestModelPath } });
    await expect(attempt).rejects.toThrow(CheckpointFileError);
    await expect(attempt).rejects.toMatchObject({ byteOffset: whole.length - 5 });
    expect((await readFile(bestModelPath)).length).toBe(whole.length - 5);
  });

  it('a damaged tensor is refused by its name', async () => {
    const { bestModelPath } = await fit();
    const bytes = await readFile(bestModelPath);
    bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1;
    await writeFile(bestModelPath, bytes);
    await expect(fit({ fit: { ckptPath: bestModelPath } })).rejects.toThrow(
      /tensor '.' .*checksum/s,
    );
  });

  it('a foreign file is refused', async () => {
    const path = join(root, 'foreign.ckpt');
    await writeFile(path, 'PK\u0003\u0004 this is a zip file of another tool');
    await expect(fit({ fit: { ckptPath: path } })).rejects.toThrow(CheckpointFileError);
  });

  it('weights that do not fit are listed, each, and nothing is half loaded', async () => {
    const { bestModelPath } = await fit();
    const module = new Model({ a: [7, 7, 7], c: [9] });
    const attempt = fit({ fit: { ckptPath: bestModelPath }, module });
    await expect(attempt).rejects.toThrow(CheckpointMismatchError);
    await expect(attempt).rejects.toThrow(/a.*\n.*[bc].*\n.*[bc]/s);
    expect([...module.weight('a'), ...module.weight('c')]).toEqual([7, 7, 7, 9]);
  });

  it("'last' sets a damaged file aside and goes on from the next older whole one", async () => {
    const warnings: string[] = [];
    const checkpoint = { saveTopK: -1, everyNTrainSteps: 1, filename: '{step}' };
    const { dirpath } = await fit({ checkpoint });
    await truncate(join(dirpath, 'step=2.ckpt'), 100);
    const trainer = { console: { info: () => {}, warn: (text: string) => warnings.push(text) } };
    await fit({ checkpoint, trainer, fit: { ckptPath: 'last' } });
    expect(await readdir(dirpath)).toContain('step=2.ckpt.corrupt');
    expect(await readdir(dirpath)).toContain('step=2.ckpt');
    expect(warnings.join()).toMatch(/step=2\.ckpt' cannot be read.*set aside/s);
  });

  it("'best' without any checkpoint is an error, 'last' a fresh start", async () => {
    await expect(fit({ fit: { ckptPath: 'best' } })).rejects.toThrow(/no checkpoint of this run/);
    expect((await fit({ fit: { ckptPath: 'last' } })).bestModelPath).not.toBe('');
  });
});

describe('a dirpath', () => {
  it('that is a file is refused before any training', async () => {
    await writeFile(join(root, 'c'), 'precious');
    const module = new Model();
    await expect(fit({ module })).rejects.toMatchObject({ code: 'STORAGE_NOTAFOLDER' });
    expect(await readFile(join(root, 'c'), 'utf8')).toBe('precious');
    expect([...module.weight('a')]).toEqual([0, 0]);
  });

  it.skipIf(process.getuid?.() === 0)(
    'that cannot be written is refused before any training (not as root, who may write anywhere)',
    async () => {
      await mkdir(join(root, 'c'), { mode: 0o500 });
      await expect(fit()).rejects.toMatchObject({ code: 'STORAGE_PERMISSION' });
      await chmod(join(root, 'c'), 0o700);
    },
  );

  it('that no file system would take is refused before any training', async () => {
    const checkpoint = { dirpath: '/proc/highwater' };
    await expect(fit({ checkpoint })).rejects.toThrow(HighwaterError);
  });
});

describe('a metric', () => {
  it.each([
    ['a string', 'x'],
    ['undefined', undefined],
    ['an array', [1]],
    ['an object', {}],
  ])('that is %s is refused with its name', async (_, logged) => {
    const module = new Model();
    module.logged = logged;
    await expect(fit({ module })).rejects.toThrow(/log\('loss'\): got .* a number or a scalar/);
  });

  it('that is monitored but never logged ends training at the epoch end, after its saves', async () => {
    const checkpoint = { monitor: 'nope', saveLast: true } as const;
    const attempt = fit({ checkpoint });
    await expect(attempt).rejects.toThrow(
      /no hook has logged 'nope'. Logged are 'loss', 'val_loss'/,
    );
    await expect(attempt).rejects.toThrow(MisconfigurationError);
    const files = await readdir(join(root, 'c'));
    expect(files).toContain('last.ckpt');
  });
});

describe('a fit that validates nothing although it seems meant to', () => {
  it.each<[string, Attempt, string]>([
    [
      'a step and no data',
      { fit: { valDataloaders: undefined } },
      'Model has a validationStep() method, but there is no validation data. Pass {valDataloaders} to fit, or give ' +
        'Model a valDataloader() method.',
    ],
    [
      'data and no step',
      { module: without('validationStep') },
      'there is validation data, but Bare has no validationStep() method.',
    ],
    [
      'no batch in the data',
      { fit: { valDataloaders: [] } },
      'the validation data is empty: its length is 0.',
    ],
  ])('says so when it begins: %s', async (_, attempt, why) => {
    const warnings: string[] = [];
    const sink = { info: () => {}, warn: (message: string) => warnings.push(message) };
    await fit({ ...attempt, trainer: { console: sink } });
    expect(warnings).toEqual([`Trainer.fit validates nothing: ${why}`]);

    const monitor = { ...attempt, checkpoint: { monitor: 'val_loss' } };
    await expect(fit(monitor)).rejects.toThrow(
      `no hook has logged 'val_loss'. Nothing is validated: ${why} Logged are 'loss', `,
    );
    const stopping = { ...attempt, trainer: { callbacks: new EarlyStopping({ monitor: 'v' }) } };
    await expect(fit(stopping)).rejects.toThrow(`Nothing is validated: ${why} Log it`);
  });

  it('is silent when it is switched off, and gives that as the reason', async () => {
    const warnings: string[] = [];
    const sink = { info: () => {}, warn: (message: string) => warnings.push(message) };
    await fit({ trainer: { console: sink, limitValBatches: 0 } });
    expect(warnings).toEqual([]);
    const monitor = { trainer: { limitValBatches: 0 }, checkpoint: { monitor: 'val_loss' } };
    await expect(fit(monitor)).rejects.toThrow('Nothing is validated: limitValBatches is 0. Log');
  });
});

describe('an error in user code', () => {
  it('arrives with the name of the hook, and every save before it is durable', async () => {
    class Failing extends Model {
      override onTrainEpochEnd(): void {
        throw new RangeError('out of luck');
      }
    }
    const checkpoint = { everyNTrainSteps: 1, saveTopK: -1 };
    const attempt = fit({ module: new Failing(), checkpoint });
    await expect(attempt).rejects.toMatchObject({
      code: 'HOOK_FAILED',
      cause: new RangeError('out of luck'),
    });
    await expect(attempt).rejects.toThrow(
      /onTrainEpochEnd failed in epoch 0 at globalStep 2: out of luck/,
    );
    expect((await readdir(join(root, 'c'))).filter((name) => name.endsWith('.ckpt'))).toHaveLength(
      2,
    );
  });
});
