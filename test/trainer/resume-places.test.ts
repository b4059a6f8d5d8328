import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CSVLogger,
  DataLoader,
  type DataSource,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  openCheckpoint,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

class Model extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }

  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch);
    return { loss: batch, gradients: { weight: [batch] } };
  }
}

let root: string;
const messages: string[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-resume-'));
  messages.length = 0;
});
afterEach(() => rm(root, { recursive: true }));

async function run(
  maxEpochs: number,
  ckptPath: string | undefined,
  options: TrainerOptions = {},
  checkpoint: ModelCheckpointOptions = { saveLast: true },
): Promise<{ trainer: Trainer; checkpoint: ModelCheckpoint }> {
  const callback = new ModelCheckpoint(checkpoint);
  const push = (message: string): void => void messages.push(message);
  const trainer = new Trainer({
    maxEpochs,
    defaultRootDir: root,
    callbacks: [callback],
    enableProgressBar: false,
    logEveryNSteps: 1,
    console: { info: push, warn: push },
    ...options,
  });
  await trainer.fit(new Model(), { trainDataloaders: [1, 2, 3], ckptPath });
  return { trainer, checkpoint: callback };
}

describe('with a logger that numbers its runs', () => {
  const logger = (): CSVLogger => new CSVLogger({ saveDir: join(root, 'logs'), name: 'exp' });

  it("starts run 0 when 'last' finds nothing, and saves below it", async () => {
    const { checkpoint } = await run(1, 'last', { logger: logger() });
    expect(checkpoint.dirpath).toBe(join(root, 'logs/exp/version_0/checkpoints'));
  });

  it('goes on in the newest run that has a checkpoint, with neither lost nor doubled rows', async () => {
    await run(1, 'last', { logger: logger() });
    const { checkpoint } = await run(3, 'last', { logger: logger() });
    expect(checkpoint.dirpath).toBe(join(root, 'logs/exp/version_0/checkpoints'));
    expect(await readdir(join(root, 'logs/exp'))).toEqual(['version_0']);
    const rows = await readFile(join(root, 'logs/exp/version_0/metrics.csv'), 'utf8');

    await run(3, undefined, { logger: logger() });
    const uninterrupted = await readFile(join(root, 'logs/exp/version_1/metrics.csv'), 'utf8');
    expect(rows).toBe(uninterrupted);
    expect(uninterrupted.trim().split('\n')).toHaveLength(10);
  });
});

describe('a finished run', () => {
  it('does nothing and says so', async () => {
    await run(2, undefined, { logger: false });
    const { trainer } = await run(2, 'last', { logger: false });
    expect(messages.at(-1)).toMatch(/^resumed from .*; nothing left to train$/);
    expect(trainer.globalStep).toBe(6);
  });

  it('goes on when its limit is raised', async () => {
    await run(2, undefined, { logger: false });
    const { trainer } = await run(3, 'last', { logger: false });
    expect(trainer.globalStep).toBe(9);
  });
});

describe('a run that went back on purpose', () => {
  it('reports once the files that are newer, and saves beside them under a version', async () => {
    const all = { saveTopK: -1, filename: '{epoch}' };
    const first = await run(3, undefined, { logger: false }, all);
    const back = join(first.checkpoint.dirpath, 'epoch=0.ckpt');
    await run(2, back, { logger: false }, all);
    const reports = messages.filter((message) => message.includes('newer than'));
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatch(/2 checkpoints .*epoch=1\.ckpt' .*epoch=2\.ckpt'/s);
    expect(
      (await readdir(first.checkpoint.dirpath)).filter((name) => name[0] !== '.').sort(),
    ).toEqual(['epoch=0.ckpt', 'epoch=1-v1.ckpt', 'epoch=1.ckpt', 'epoch=2.ckpt']);
  });
});

it('finds, and tells of, files with a FILE_EXTENSION of their own', async () => {
  class Safetensors extends ModelCheckpoint {
    override FILE_EXTENSION = '.safetensors';
  }
  const all = { saveTopK: -1, filename: '{epoch}' };
  const own = (): TrainerOptions => ({ logger: false, callbacks: new Safetensors(all) });
  const first = await run(1, 'last', own());
  const { trainer } = await run(2, 'last', own());
  expect(trainer.globalStep).toBe(6);
  const folder = join(root, 'checkpoints');
  const files = async (): Promise<string[]> =>
    (await readdir(folder)).filter((name) => name[0] !== '.').sort();
  expect(await files()).toEqual(['epoch=0.safetensors', 'epoch=1.safetensors']);

  const back = first.trainer.bestModelPath;
  await run(2, back, own());
  expect(messages.filter((message) => message.includes('newer than'))).toEqual([
    expect.stringMatching(/1 checkpoints .*epoch=1\.safetensors'/s),
  ]);
});

it('makes the last file that a crash at the end of training has prevented', async () => {
  const options = { saveLast: true, everyNEpochs: 2, filename: 'a' } as const;
  const { checkpoint } = await run(2, undefined, { logger: false }, options);
  await rm(checkpoint.lastModelPath);
  const again = await run(2, 'last', { logger: false }, options);
  expect(again.checkpoint.lastModelPath).toBe(checkpoint.lastModelPath);
  expect(await readdir(checkpoint.dirpath)).toContain('last.ckpt');
});

it('a resume between the last batch and the end of its epoch leaves the data where an unbroken run does', async () => {
  class Validated extends Model {
    override validationStep(): void {}
  }
  const afterValidation = join(root, 'validated/epoch=0-step=3.ckpt');
  const fit = async (ckptPath?: string): Promise<unknown> => {
    const atSteps = new ModelCheckpoint({
      dirpath: join(root, 'steps'),
      everyNTrainSteps: 2,
      saveLast: true,
    });
    const validated = new ModelCheckpoint({
      dirpath: join(root, 'validated'),
      saveOnTrainEpochEnd: false,
    });
    const trainer = new Trainer({
      maxEpochs: 1,
      callbacks: [atSteps, validated],
      logger: false,
      enableProgressBar: false,
      console: { info: () => {}, warn: () => {} },
    });
    await trainer.fit(new Validated(), {
      trainDataloaders: new DataLoader([1, 2, 3], { batchSize: 1, collate: ([item = 0]) => item }),
      valDataloaders: [1],
      ckptPath,
    });
    // Of the end of training: step 3 is not among those that are saved for themselves.
    const { document } = await openCheckpoint(atSteps.lastModelPath);
    expect(document?.globalStep).toBe(3);
    return document?.dataloaders;
  };
  const unbroken = await fit();
  expect(unbroken).toMatchObject({ train: { state: { epoch: 1, batchesServed: 0 } } });
  expect(await fit(afterValidation)).toEqual(unbroken);
});

it('gives the data what it has added to the checkpoint', async () => {
  const seen: unknown[] = [];
  const data = (note: string): DataSource<number> =>
    Object.assign([1, 2], {
      onSaveCheckpoint: (checkpoint: Record<string, unknown>) => {
        checkpoint[note] = { drawn: Float32Array.of(1, 2) };
      },
      onLoadCheckpoint: (checkpoint: Record<string, unknown>) => void seen.push(checkpoint[note]),
    });
  for (const maxEpochs of [1, 2]) {
    const trainer = new Trainer({
      maxEpochs,
      defaultRootDir: root,
      logger: false,
      enableProgressBar: false,
    });
    const validation = { trainDataloaders: data('train'), valDataloaders: data('val') };
    await trainer.fit(Object.assign(new Model(), { validationStep: () => {} }), {
      ...validation,
      ckptPath: 'last',
    });
  }
  const stored = { drawn: Float32Array.of(1, 2) };
  expect(seen).toEqual([stored, stored]);
});
