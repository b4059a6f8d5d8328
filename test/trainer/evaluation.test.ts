import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CSVLogger, DataLoader, ModelCheckpoint, type Trainer } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

/** Its weight falls by an eighth with each batch; it evaluates to weight × batch. */
class Model extends ArrayModule<number> {
  restored: unknown;

  constructor() {
    super({ weight: [1] });
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { weight: [1] } };
  }
  get value(): number {
    return this.weight('weight')[0] ?? Number.NaN;
  }
  override validationStep(batch: number): void {
    this.log('val', this.value * batch, { batchSize: batch });
  }
  override testStep(batch: number): void {
    this.log('test', this.value * batch);
    this.log('each', batch, { onStep: true, onEpoch: true, addDataloaderIdx: false });
  }
  override onTestEpochEnd(): void {
    this.log('whole', 7);
  }
  override predictStep(batch: number): number {
    return this.value * batch;
  }
  override testDataloader(): Promise<number[]> {
    return Promise.resolve([5]);
  }
  override onSaveCheckpoint(checkpoint: Record<string, unknown>): void {
    checkpoint.extra = this.value;
  }
  override onLoadCheckpoint(checkpoint: Record<string, unknown>): void {
    this.restored = checkpoint.extra;
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-evaluation-'));
});
afterEach(() => rm(root, { recursive: true }));

const loaders = (...data: number[][]) =>
  data.map((items) => new DataLoader(items, { collate: ([item]) => item ?? 0 }));

describe('validate and test', () => {
  it('give the metrics of one loader, weighted by batch size, and leave training where it stood', async () => {
    const trainer = quietTrainer({ maxEpochs: 1 });
    const module = new Model();
    await trainer.fit(module, { trainDataloaders: [1, 2], valDataloaders: [1] });
    expect(await trainer.validate(module, { dataloaders: [1, 3] })).toEqual([{ val: 0.75 * 2.5 }]);
    expect(trainer.globalStep).toBe(2);
    expect(trainer.currentEpoch).toBe(1);
    expect(trainer.callbackMetrics).toEqual({ val: 0.75 * 2.5 });
    expect(module.value).toBe(0.75);
  });

  it('give the metrics of each of several loaders, and those of none in particular to all', async () => {
    const dataloaders = loaders([1, 2], [4]);
    const [first, second] = await quietTrainer().test(new Model(), { dataloaders });
    expect(first).toMatchObject({
      'test/dataloader_idx_0': 1.5,
      whole: 7,
      each: expect.closeTo(7 / 3),
    });
    expect(Object.keys(first ?? {})).not.toContain('test/dataloader_idx_1');
    expect(second).toMatchObject({ 'test/dataloader_idx_1': 4, whole: 7 });
  });

  it('take the module of the last call, and its own data', async () => {
    const trainer = quietTrainer();
    await trainer.test(new Model());
    expect(await trainer.test()).toMatchObject([{ test: 5 }]);
    await expect(quietTrainer().test()).rejects.toThrow(/Trainer\.test: no module/);
  });

  it('use the limits of their kind', async () => {
    const trainer = quietTrainer({ limitTestBatches: 0.5, limitValBatches: { batches: 1 } });
    const dataloaders = [2, 4, 100, 100];
    expect(await trainer.test(new Model(), { dataloaders })).toMatchObject([{ test: 3 }]);
    expect(await trainer.validate(new Model(), { dataloaders })).toEqual([{ val: 2 }]);
  });

  it('log to the loggers at the step at which training stands', async () => {
    const logger = new CSVLogger({ saveDir: root, name: '', version: 'v' });
    const trainer = quietTrainer({ logger, maxEpochs: 1 });
    const module = new Model();
    await trainer.fit(module, { trainDataloaders: [1, 2, 3] });
    await trainer.test(module);
    const rows = await readFile(join(root, 'v/metrics.csv'), 'utf8');
    const [head = [], ...lines] = rows
      .trim()
      .split('\n')
      .map((line) => line.split(','));
    const found = lines.map((line) =>
      Object.fromEntries(head.flatMap((name, i) => (line[i] ? [[name, Number(line[i])]] : []))),
    );
    const at = { step: 2, epoch: 1 };
    expect(found.slice(0, -1).every((row) => 'each_step' in row && row.step === 2)).toBe(true);
    expect(found.length).toBeGreaterThan(1);
    expect(found.at(-1)).toEqual({ ...at, test: 3.125, whole: 7, each: 5, each_epoch: 5 });
  });

  it('print what they found, unless told not to', async () => {
    const messages: string[] = [];
    const console = { info: (message: string) => void messages.push(message), warn: () => {} };
    const trainer = quietTrainer({ console });
    await trainer.validate(new Model(), { dataloaders: [2] });
    await trainer.validate(new Model(), { dataloaders: [2], verbose: false });
    expect(messages).toEqual(['validate: val=2']);
  });
});

describe('predict', () => {
  it('collects the predictions of one loader, or of each of several', async () => {
    const trainer = quietTrainer({ limitPredictBatches: { batches: 2 } });
    expect(await trainer.predict(new Model(), { dataloaders: [1, 2, 3] })).toEqual([1, 2]);
    expect(await trainer.predict(new Model(), { dataloaders: loaders([1], [2, 3]) })).toEqual([
      [1],
      [2, 3],
    ]);
  });

  it('cannot log', async () => {
    class Logging extends Model {
      override predictStep(batch: number): number {
        this.log('x', 1);
        return batch;
      }
    }
    const attempt = quietTrainer().predict(new Logging(), { dataloaders: [1] });
    await expect(attempt).rejects.toThrow(/nothing can be logged/);
  });
});

describe('with ckptPath', () => {
  async function trained(saveWeightsOnly: boolean): Promise<{ trainer: Trainer; best: string }> {
    const checkpoint = new ModelCheckpoint({
      dirpath: join(root, 'c'),
      monitor: 'val',
      mode: 'max',
      saveWeightsOnly,
      saveLast: true,
    });
    const trainer = quietTrainer({
      maxEpochs: 3,
      enableCheckpointing: true,
      callbacks: checkpoint,
      defaultRootDir: root,
    });
    await trainer.fit(new Model(), { trainDataloaders: [1], valDataloaders: [1] });
    return { trainer, best: checkpoint.bestModelPath };
  }

  it.each([false, true])('a path, best and last (weights only: %s)', async (saveWeightsOnly) => {
    const { trainer, best } = await trained(saveWeightsOnly);
    const dataloaders = [1];
    const value = async (ckptPath?: string): Promise<unknown> =>
      (await trainer.validate(new Model(), { dataloaders, ckptPath }))[0]?.val;
    expect(await value()).toBe(1);
    expect(await value(best)).toBe(0.875);
    expect(await value('best')).toBe(0.875);
    if (!saveWeightsOnly) expect(await value('last')).toBe(0.625);
    // Without a module it is the best of the last fit.
    expect(await trainer.validate(undefined, { dataloaders })).toEqual([{ val: 0.875 }]);
    expect(await trainer.predict(undefined, { dataloaders, ckptPath: null })).toEqual([0.875]);
  });

  it('another Trainer finds best and last in the same folders', async () => {
    await trained(false);
    const callbacks = new ModelCheckpoint({
      dirpath: join(root, 'c'),
      monitor: 'val',
      mode: 'max',
    });
    const trainer = quietTrainer({ callbacks, enableCheckpointing: true });
    const module = new Model();
    expect(await trainer.predict(module, { dataloaders: [1], ckptPath: 'best' })).toEqual([0.875]);
    expect(module.restored).toBe(0.875);
    expect(await trainer.predict(module, { dataloaders: [1], ckptPath: 'last' })).toEqual([0.625]);
  });

  it('says that there is none', async () => {
    const trainer = quietTrainer({ defaultRootDir: root });
    const attempt = (ckptPath: string) => trainer.test(new Model(), { ckptPath });
    await expect(attempt('best')).rejects.toThrow(
      /test\({ckptPath: 'best'}\): there is no checkpo/,
    );
    await expect(attempt('last')).rejects.toThrow(
      /test\({ckptPath: 'last'}\): there is no checkpo/,
    );
    await expect(attempt(join(root, 'x.ckpt'))).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    });
  });
});

it.each([
  ['validate', /Bare has no validationStep/],
  ['test', /Bare has no testStep/],
  ['predict', /Bare has no predictStep/],
] as const)('%s says what is missing', async (method, message) => {
  class Bare extends ArrayModule<number> {
    override trainingStep(): LossAndGradients {
      return { loss: 0, gradients: {} };
    }
  }
  await expect(quietTrainer()[method](new Bare({ a: [1] }))).rejects.toThrow(message);
  const noData = quietTrainer().validate(new Model());
  await expect(noData).rejects.toThrow(/there is no data\. Pass {dataloaders}/);
});

it('one thing at a time: a hook cannot start another', async () => {
  const trainer = quietTrainer({ maxEpochs: 1 });
  class Nested extends Model {
    override onTrainStart(): Promise<unknown> {
      return trainer.validate(this, { dataloaders: [1] });
    }
  }
  const fit = trainer.fit(new Nested(), { trainDataloaders: [1] });
  await expect(fit).rejects.toThrow('Trainer.validate: fit is running already.');
});
