import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  type Logger,
  localFiles,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  memoryFiles,
  type Storage,
  StorageError,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { refusingStorage } from '../support/refusing-storage.ts';

class Model extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch);
    this.log('equals', [2, 2, 3, 3, 1][batch - 1]);
    return { loss: batch, gradients: { weight: [1] } };
  }
}

const quiet = { logger: false, enableProgressBar: false, console: { info() {}, warn() {} } };

async function train(
  storage: Storage,
  options: ModelCheckpointOptions,
  trainer: TrainerOptions = {},
  ckptPath?: string,
): Promise<{ checkpoint: ModelCheckpoint; module: Model; error: unknown; steps: number }> {
  const checkpoint = new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1, ...options });
  const driver = new Trainer({
    ...quiet,
    maxEpochs: 1,
    storage,
    callbacks: checkpoint,
    ...trainer,
  });
  const module = new Model();
  let error: unknown;
  try {
    await driver.fit(module, { trainDataloaders: [1, 2, 3, 4, 5], ckptPath });
  } catch (thrown) {
    error = thrown;
  }
  return { checkpoint, module, error, steps: driver.globalStep };
}

async function names(storage: Storage): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of storage.list('/c')) if (path.endsWith('.ckpt')) found.push(path);
  return found.sort();
}

function failingAt(path: string): Storage {
  const storage = memoryFiles();
  const full = new StorageError('NoSpace', path, `No space for '${path}'.`);
  return {
    ...storage,
    writer: (target) => (target === path ? Promise.reject(full) : storage.writer(target)),
  };
}

it.each([true, false])(
  'a failed save ends fit with its path and cause, and older checkpoints stay (asyncSave: %s)',
  async (asyncSave) => {
    const storage = failingAt('/c/step=3.ckpt');
    const { error, module, steps } = await train(storage, { filename: '{step}' }, { asyncSave });
    expect(error).toMatchObject({
      code: 'SAVE_FAILED',
      details: { path: '/c/step=3.ckpt' },
      cause: { code: 'STORAGE_NOSPACE' },
    });
    expect(await names(storage)).toContain('/c/step=2.ckpt');
    // Training state is not harmed: the weights are those of the steps that were taken.
    expect(module.weight('weight')[0]).toBe(-0.125 * steps);
  },
);

it('what was rejected after the last save is in the journal, also when training ends with an error', async () => {
  const storage = memoryFiles();
  const options = { monitor: 'loss', mode: 'min', filename: '{step}' } as const;
  class Failing extends ModelCheckpoint {
    override async onTrainEpochEnd(): Promise<void> {
      throw new Error('no more');
    }
  }
  const callbacks = new Failing({ dirpath: '/c', everyNTrainSteps: 1, ...options });
  const { error } = await train(storage, options, { callbacks });
  expect(error).toMatchObject({ code: 'HOOK_FAILED' });
  const text = new TextDecoder().decode(await storage.read('/c/.highwater/history.jsonl'));
  const kinds = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).kind);
  expect(kinds).toEqual(['saved', 'rejected', 'rejected', 'rejected', 'rejected']);
});

it('a logger that fails when it is told of a save ends fit as that hook, and the save counts', async () => {
  const storage = memoryFiles();
  const logger: Logger = {
    ...{ saveDir: '/l', name: '', version: 0, logMetrics() {} },
    afterSaveCheckpoint() {
      throw new Error('no route to host');
    },
  };
  const { checkpoint, error } = await train(storage, { filename: '{step}' }, { logger });
  expect(error).toMatchObject({
    code: 'HOOK_FAILED',
    message: expect.stringMatching(/^afterSaveCheckpoint failed in epoch 0 .*: no route to host$/),
  });
  expect(checkpoint.lastSave?.paths).toEqual([checkpoint.bestModelPath]);
  expect(await names(storage)).toEqual([checkpoint.bestModelPath]);
});

it('a hook that a crash cut short is finished on resume: names made, what was to go removed', async () => {
  const options: ModelCheckpointOptions = {
    monitor: 'loss',
    mode: 'max',
    saveLast: true,
    filename: '{step}',
  };
  const whole = memoryFiles();
  await train(whole, options);
  expect(await names(whole)).toEqual(['/c/last.ckpt', '/c/step=5.ckpt']);

  // As a crash after the first name of step 3 leaves it: the last file and the removal are missing.
  const storage = memoryFiles();
  const crashing: Storage = {
    ...storage,
    async writer(path, how) {
      const writer = await storage.writer(path, how);
      const isNamed = async (): Promise<boolean> =>
        (await storage.stat('/c/step=3.ckpt')) !== undefined;
      const publish: typeof writer.publish = async (given) =>
        (await isNamed()) ? await new Promise<void>(() => {}) : await writer.publish(given);
      return { ...writer, publish };
    },
  };
  void train(crashing, options);
  while ((await storage.stat('/c/step=3.ckpt')) === undefined) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(await names(storage)).toEqual(['/c/last.ckpt', '/c/step=2.ckpt', '/c/step=3.ckpt']);

  await train(storage, options, { maxEpochs: 0 }, 'last');
  expect(await names(storage)).toEqual(['/c/last.ckpt', '/c/step=3.ckpt']);
  expect(await storage.read('/c/last.ckpt')).toEqual(await storage.read('/c/step=3.ckpt'));

  const { checkpoint } = await train(storage, options, {}, 'last');
  expect(await names(storage)).toEqual(await names(whole));
  expect(checkpoint.bestModelScore).toBe(5);
});

it('where no file can have a second name, the name that is missing is a copy', async () => {
  const files = memoryFiles();
  const storage: Storage = {
    ...files,
    link: async () => false,
    writer: async (path) => ({ ...(await files.writer(path)), link: async () => false }),
  };
  const options = { filename: '{step}', saveLast: true } as const;
  await train(storage, options);
  await storage.remove('/c/last.ckpt');
  await train(storage, options, { maxEpochs: 0 }, '/c/step=5.ckpt');
  expect(await storage.read('/c/last.ckpt')).toEqual(await storage.read('/c/step=5.ckpt'));
});

it('toYaml leaves nothing behind when a folder has the name', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'highwater-yaml-'));
  try {
    const options = { dirpath: folder, filename: '{step}' };
    const { checkpoint } = await train(localFiles(), options);
    await mkdir(join(folder, 'best.yaml'));
    const before = await readdir(folder);
    await expect(checkpoint.toYaml(join(folder, 'best.yaml'))).rejects.toMatchObject({
      code: 'STORAGE_CONFLICT',
    });
    expect(await readdir(folder)).toEqual(before);
  } finally {
    await rm(folder, { recursive: true });
  }
});

it('a hostile state removes nothing outside its folder', async () => {
  const storage = memoryFiles();
  const options = { filename: '{step}', saveLast: true } as const;
  await train(storage, options);
  const write = async (path: string, text: string): Promise<void> => {
    const writer = await storage.writer(path);
    await writer.write([new TextEncoder().encode(text)]);
    await writer.publish({ replace: true });
  };
  await write('/etc/passwd', 'root');
  await write('/x.ckpt', 'precious');

  class Hostile extends ModelCheckpoint {
    override stateDict(): ReturnType<ModelCheckpoint['stateDict']> {
      const state = super.stateDict() as Record<string, string>;
      return { ...state, bestModelPath: '/etc/passwd', lastModelPath: '/c/../x.ckpt' };
    }
  }
  const hostile = new Hostile({ dirpath: '/c', everyNTrainSteps: 1, filename: 'h-{step}' });
  await train(storage, options, { callbacks: hostile, maxEpochs: 1 });
  const { error } = await train(storage, options, { maxEpochs: 2 }, hostile.bestModelPath);
  expect(error).toBeUndefined();
  expect(new TextDecoder().decode(await storage.read('/etc/passwd'))).toBe('root');
  expect(new TextDecoder().decode(await storage.read('/x.ckpt'))).toBe('precious');
});

describe("with onSaveError: 'warn'", () => {
  const refusing = (...paths: readonly string[]): Storage =>
    refusingStorage((path) => paths.includes(path));

  async function warned(
    storage: Storage,
    options: ModelCheckpointOptions,
    trainer: TrainerOptions = {},
  ): Promise<{ checkpoint: ModelCheckpoint; warnings: string[]; steps: number }> {
    const warnings: string[] = [];
    const console = { info() {}, warn: (message: string) => warnings.push(message) };
    const how = { onSaveError: 'warn', console, ...trainer } as const;
    const { checkpoint, error, steps } = await train(storage, options, how);
    expect(error).toBeUndefined();
    return { checkpoint, warnings, steps };
  }

  it.each([true, false])(
    'training goes on, and each failed save is one warning (asyncSave: %s)',
    async (asyncSave) => {
      const storage = refusing('/c/step=2.ckpt', '/c/step=3.ckpt');
      const { warnings, steps } = await warned(storage, { filename: '{step}' }, { asyncSave });
      expect(steps).toBe(5);
      expect(warnings).toEqual([
        expect.stringMatching(/^Saving '\/c\/step=2\.ckpt' failed: .* Training goes on\.$/),
        expect.stringMatching(/^Saving '\/c\/step=3\.ckpt' failed: .* Training goes on\.$/),
      ]);
      expect(await names(storage)).toEqual(['/c/step=5.ckpt']);
    },
  );

  it('the callback keeps what it kept before', async () => {
    const storage = refusing('/c/step=4.ckpt', '/c/step=5.ckpt');
    const options = { monitor: 'loss', mode: 'max', saveTopK: 2, filename: '{step}' } as const;
    const { checkpoint } = await warned(storage, options);
    expect([...checkpoint.bestKModels]).toEqual([
      ['/c/step=2.ckpt', 2],
      ['/c/step=3.ckpt', 3],
    ]);
    expect(checkpoint.bestModelPath).toBe('/c/step=3.ckpt');
    expect(await names(storage)).toEqual(['/c/step=2.ckpt', '/c/step=3.ckpt']);
  });

  it('of equals, the oldest goes first, also after it was to go for a save that failed', async () => {
    const storage = refusing('/c/step=3.ckpt');
    const options = { monitor: 'equals', mode: 'max', saveTopK: 2, filename: '{step}' } as const;
    const { checkpoint } = await warned(storage, options, { asyncSave: false });
    // Steps 1 and 2 are equals, and step 3 was to take the place of 1; step 4 does.
    expect([...checkpoint.bestKModels.keys()]).toEqual(['/c/step=2.ckpt', '/c/step=4.ckpt']);
    expect(await names(storage)).toEqual(['/c/step=2.ckpt', '/c/step=4.ckpt']);
  });

  it('removes later what a save that failed half-way was to remove', async () => {
    const storage = refusing('/c/last-step=3.ckpt');
    class Named extends ModelCheckpoint {
      override CHECKPOINT_NAME_LAST = 'last-{step}';
    }
    const checkpoint = new Named({
      dirpath: '/c',
      everyNTrainSteps: 1,
      filename: 'new-{step}',
      saveLast: true,
    });
    const { warnings } = await warned(storage, {}, { callbacks: checkpoint });
    expect(warnings).toHaveLength(1);
    // Step 3 was to remove the files of step 2.
    expect(await names(storage)).toEqual(['/c/last-step=5.ckpt', '/c/new-step=5.ckpt']);
  });

  it('what the user asks to save still throws', async () => {
    const storage = refusing('/c/mine.ckpt');
    let thrown: unknown;
    await warned(
      storage,
      { filename: '{step}' },
      {
        callbacks: {
          async onTrainStart(trainer: Trainer) {
            thrown = await trainer.saveCheckpoint('/c/mine.ckpt').catch((error: unknown) => error);
          },
        } as never,
      },
    );
    expect(thrown).toMatchObject({ code: 'SAVE_FAILED', details: { path: '/c/mine.ckpt' } });
  });
});
