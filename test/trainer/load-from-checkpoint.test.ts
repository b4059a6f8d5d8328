import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  CheckpointMismatchError,
  ModelCheckpoint,
  openCheckpoint,
  Trainer,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

interface Sizes {
  readonly inputs: number;
  readonly outputs: number;
}

class Model extends ArrayModule {
  seen: unknown;

  override onSaveCheckpoint(checkpoint: Record<string, unknown>): void {
    checkpoint.seen = { batches: Int32Array.of(2) };
  }
  override onLoadCheckpoint(checkpoint: Record<string, unknown>): void {
    this.seen = checkpoint.seen;
  }
  constructor(sizes: Sizes = { inputs: 1, outputs: 1 }) {
    const { inputs, outputs } = sizes;
    super({ body: new Float32Array(inputs).fill(1), head: new Float32Array(outputs) });
    this.saveHyperparameters(sizes);
  }

  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { body: [1, 1, 1, 1].slice(0, this.weight('body').length) } };
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-load-'));
});
afterEach(() => rm(root, { recursive: true }));

it.each([
  ['s3://bucket/a.ckpt', 'there is no storage for s3:// URLs'],
  ['file://elsewhere/a.ckpt', 'a file of another machine'],
  ['', 'A path is empty'],
])("refuses '%s' before it looks for a file", async (path, message) => {
  await expect(openCheckpoint(path)).rejects.toMatchObject({ code: 'MISCONFIGURATION' });
  await expect(openCheckpoint(path)).rejects.toThrow(message);
});

async function trained(saveWeightsOnly: boolean): Promise<string> {
  const checkpoint = new ModelCheckpoint({ dirpath: root, saveWeightsOnly });
  const trainer = new Trainer({
    maxEpochs: 1,
    callbacks: [checkpoint],
    logger: false,
    enableProgressBar: false,
  });
  await trainer.fit(new Model({ inputs: 3, outputs: 2 }), { trainDataloaders: [1, 2] });
  return checkpoint.bestModelPath;
}

describe('loadFromCheckpoint', () => {
  it.each([false, true])(
    'builds the module from the stored hyper-parameters and weights (weights only: %s)',
    async (saveWeightsOnly) => {
      const model = await Model.loadFromCheckpoint(await trained(saveWeightsOnly));
      expect(model.hparams).toEqual({ inputs: 3, outputs: 2 });
      expect(model.weight('body')).toEqual(Float32Array.of(0.75, 0.75, 0.75));
      expect(model.leftOutByLoad).toEqual([]);
      expect(model.seen).toEqual(saveWeightsOnly ? undefined : { batches: Int32Array.of(2) });
    },
  );

  it('lists every difference and loads nothing when the overrides change a shape', async () => {
    const load = Model.loadFromCheckpoint(await trained(false), { outputs: 5 });
    await expect(load).rejects.toThrow(CheckpointMismatchError);
    await expect(load).rejects.toThrow(/head/);
  });

  it('loads what fits when it is not strict, and says what it left out', async () => {
    const path = await trained(false);
    const model = await Model.loadFromCheckpoint(path, { outputs: 5 }, { strict: false });
    expect(model.weight('body')).toEqual(Float32Array.of(0.75, 0.75, 0.75));
    expect(model.weight('head')).toEqual(new Float32Array(5));
    expect(model.leftOutByLoad.join()).toContain('head');
  });

  it('says that there is no such file', async () => {
    const load = Model.loadFromCheckpoint(join(root, 'none.ckpt'));
    await expect(load).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' });
  });
});
