import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ModelCheckpoint, type ModelCheckpointOptions, Trainer } from '../../src/index.ts';
import { CheckpointReader } from '../../src/saving/checkpoint-reader.ts';
import { findNewest } from '../../src/saving/recovery.ts';
import { localFiles } from '../../src/storages/local.ts';
import type { Storage } from '../../src/storages/storage.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

class Model extends ArrayModule {
  constructor(value: number) {
    super({ weight: [value] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', -batch);
    return { loss: batch, gradients: { weight: [0] } };
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-shared-'));
});
afterEach(() => rm(root, { recursive: true }));

async function train(mark: number, options: ModelCheckpointOptions): Promise<ModelCheckpoint> {
  const checkpoint = new ModelCheckpoint({ dirpath: root, everyNTrainSteps: 1, ...options });
  const trainer = new Trainer({
    maxEpochs: 1,
    logger: false,
    enableProgressBar: false,
    callbacks: checkpoint,
  });
  const data = Array.from({ length: 20 }, (_, i) => i);
  await trainer.fit(new Model(mark), { trainDataloaders: data });
  return checkpoint;
}

const weightOf = async (path: string): Promise<number> => {
  const reader = await CheckpointReader.open(localFiles(), path);
  await reader.verify();
  const [tensor] = await reader.load(new Set(['model']));
  return new Float32Array(tensor?.bytes.slice().buffer ?? new ArrayBuffer(4))[0] ?? Number.NaN;
};

/** The files that a callback counts as its own. */
const keptBy = ({ bestKModels, bestModelPath, lastModelPath }: ModelCheckpoint): string[] => {
  const paths = [...bestKModels.keys(), bestModelPath, lastModelPath];
  return [...new Set(paths)].filter((path) => path !== '');
};

describe('runs that share a folder, at the same time and with the same names', () => {
  it.each<[string, ModelCheckpointOptions]>([
    ['the newest', { saveLast: true }],
    ['the best three', { monitor: 'loss', saveTopK: 3, saveLast: true }],
    ['all, under one name', { saveTopK: -1, filename: 'same' }],
  ])('all finish, and neither replaces nor removes what another keeps: %s', async (_, options) => {
    const marks = [1, 2, 3];
    const checkpoints = await Promise.all(marks.map((mark) => train(mark, options)));
    const claimed = checkpoints.flatMap(keptBy);
    expect(new Set(claimed).size).toBe(claimed.length);
    for (const [index, checkpoint] of checkpoints.entries()) {
      for (const path of keptBy(checkpoint)) {
        expect(await weightOf(path)).toBe(marks[index]);
        // The state inside a file knows the names that its files got in the end.
        const text = await readFile(path, 'utf8');
        if (path === checkpoint.lastModelPath) expect(text).toContain(basename(path));
      }
    }
    const files = (await readdir(root)).filter((name) => name.endsWith('.ckpt'));
    expect(files).toHaveLength(options.saveTopK === -1 ? 60 : claimed.length);
  });
});

it("finds the newest that is still there when another process removes files during the search for 'last'", async () => {
  await train(1, { saveTopK: -1, filename: '{step}' });
  const local = localFiles();
  const newest = `${root}/step=20.ckpt`;
  const storage: Storage = {
    ...local,
    async stat(path) {
      // Both have been listed when the other process removes them.
      if (path === newest || path === `${root}/step=19.ckpt`) await local.remove(path);
      return await local.stat(path);
    },
  };
  const warnings: string[] = [];
  const found = await findNewest(
    storage,
    [{ path: root, depth: 0, extensions: ['.ckpt'] }],
    (text) => warnings.push(text),
  );
  expect(found?.reader.path).toBe(`${root}/step=18.ckpt`);
  expect(warnings).toEqual([]);
});
