import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ModelCheckpoint,
  type ModelCheckpointOptions,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** Logs the next of `scores` as val_loss at each validation, and its batch as loss. */
class Scored extends ArrayModule {
  readonly #scores: number[];

  constructor(scores: readonly number[]) {
    super({ weight: [0] });
    this.#scores = [...scores];
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch, { onStep: true, onEpoch: true });
    return { loss: batch, gradients: { weight: [1] } };
  }
  override validationStep(): void {}
  override onValidationEpochEnd(): void {
    this.log('val_loss', this.#scores.shift() ?? 0);
    this.log('other_metric', 0.03);
  }
}

let root: string;
const messages: string[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-callback-'));
  messages.length = 0;
});
afterEach(() => rm(root, { recursive: true }));

async function train(
  options: ModelCheckpointOptions,
  scores: readonly number[] = [3, 1, 2, 4],
  trainerOptions: TrainerOptions = {},
): Promise<ModelCheckpoint> {
  const checkpoint = new ModelCheckpoint({ dirpath: root, ...options });
  const push = (message: string): void => void messages.push(message);
  const trainer = new Trainer({
    maxEpochs: scores.length,
    logger: false,
    enableProgressBar: false,
    numSanityValSteps: 0,
    callbacks: checkpoint,
    console: { info: push, warn: push },
    ...trainerOptions,
  });
  await trainer.fit(new Scored(scores), { trainDataloaders: [1, 2, 3], valDataloaders: [1] });
  return checkpoint;
}

async function files(folder = root): Promise<string[]> {
  return (await readdir(folder)).filter((name) => name.endsWith('.ckpt')).sort();
}

describe('dirpath', () => {
  it('is where the files go', async () => {
    await train({ dirpath: join(root, 'my/path') }, [1]);
    expect(await files(join(root, 'my/path'))).toEqual(['epoch=0-step=3.ckpt']);
  });

  it('is made absolute at construction, expands ~ and takes file: URLs', () => {
    const dirpath = (given: string | URL): string =>
      new ModelCheckpoint({ dirpath: given }).dirpath;
    expect(dirpath('my/path/')).toBe(join(process.cwd(), 'my/path'));
    expect(dirpath('/a/../b/./c/')).toBe('/b/c');
    expect(dirpath('~/runs')).toBe(join(process.env.HOME ?? homedir(), 'runs'));
    expect(dirpath(pathToFileURL('/tmp/a b'))).toBe('/tmp/a b');
    expect(dirpath('s3://bucket/runs/')).toBe('s3://bucket/runs');
  });

  it('is below defaultRootDir when absent, or below weightsSavePath', async () => {
    const dirpath = null;
    const one = await train({ dirpath }, [1], { defaultRootDir: root });
    expect(one.dirpath).toBe(join(root, 'checkpoints'));
    const two = await train({ dirpath }, [1], { weightsSavePath: join(root, 'w') });
    expect(two.dirpath).toBe(join(root, 'w/checkpoints'));
  });
});

describe('filename', () => {
  it('is filled in with any logged metrics', async () => {
    const filename = '{epoch}-{val_loss:.2f}-{other_metric:.2f}';
    await train({ filename, monitor: 'val_loss' }, [0.9, 0.8, 0.018]);
    expect(await files()).toEqual(['epoch=2-val_loss=0.02-other_metric=0.03.ckpt']);
  });

  it('makes folders of slashes', async () => {
    await train({ filename: '{epoch}/{step}' }, [1]);
    expect(await files(join(root, 'epoch=0'))).toEqual(['step=3.ckpt']);
  });

  it('prints a missing metric as 0 and warns once', async () => {
    await train({ filename: '{nope:.1f}-{epoch}', saveTopK: -1 }, [1, 2]);
    expect(await files()).toEqual(['nope=0.0-epoch=0.ckpt', 'nope=0.0-epoch=1.ckpt']);
    expect(messages.filter((message) => message.includes("'nope'"))).toHaveLength(1);
  });
});

describe('monitor, mode and saveTopK', () => {
  it('keeps the newest when there is no monitor', async () => {
    const checkpoint = await train({});
    expect(await files()).toEqual(['epoch=3-step=12.ckpt']);
    expect(basename(checkpoint.bestModelPath)).toBe('epoch=3-step=12.ckpt');
    expect(checkpoint.bestModelScore).toBeUndefined();
  });

  it.each<[ModelCheckpointOptions, string[]]>([
    [{ mode: 'min', saveTopK: 1 }, ['epoch=1']],
    [{ mode: 'max', saveTopK: 1 }, ['epoch=3']],
    [{ mode: 'min', saveTopK: 2 }, ['epoch=1', 'epoch=2']],
    [{ mode: 'max', saveTopK: 3 }, ['epoch=0', 'epoch=2', 'epoch=3']],
    [{ mode: 'min', saveTopK: 0 }, []],
    [{ mode: 'min', saveTopK: -1 }, ['epoch=0', 'epoch=1', 'epoch=2', 'epoch=3']],
  ])('%j keeps %j of the scores 3, 1, 2, 4', async (options, kept) => {
    await train({ monitor: 'val_loss', filename: '{epoch}', ...options });
    expect(await files()).toEqual(kept.map((name) => `${name}.ckpt`));
  });

  it('keeps the older of two equal scores', async () => {
    await train({ monitor: 'val_loss', filename: '{epoch}' }, [1, 1, 1]);
    expect(await files()).toEqual(['epoch=0.ckpt']);
  });

  it('counts NaN as the worst possible score', async () => {
    const checkpoint = await train({ monitor: 'val_loss', filename: '{epoch}' }, [Number.NaN, 5]);
    expect(await files()).toEqual(['epoch=1.ckpt']);
    const nan = await train({ monitor: 'val_loss', mode: 'max' }, [Number.NaN]);
    expect(nan.bestModelScore).toBe(Number.NEGATIVE_INFINITY);
    expect(checkpoint.bestModelScore).toBe(5);
  });

  it('tells what is kept, the best, the worst kept and the score last saved', async () => {
    const checkpoint = await train({ monitor: 'val_loss', saveTopK: 2, filename: '{epoch}' });
    expect([...checkpoint.bestKModels]).toEqual([
      [join(root, 'epoch=1.ckpt'), 1],
      [join(root, 'epoch=2.ckpt'), 2],
    ]);
    expect(checkpoint.bestModelPath).toBe(join(root, 'epoch=1.ckpt'));
    expect(checkpoint.bestModelScore).toBe(1);
    expect(checkpoint.kthBestModelPath).toBe(join(root, 'epoch=2.ckpt'));
    expect(checkpoint.kthValue).toBe(2);
    expect(checkpoint.currentScore).toBe(2);
    expect(checkpoint.lastModelPath).toBe('');
  });
});

describe('saveLast', () => {
  it('follows the newest save, also when the score did not rank', async () => {
    const checkpoint = await train({ monitor: 'val_loss', saveLast: true, filename: '{epoch}' });
    expect(await files()).toEqual(['epoch=1.ckpt', 'last.ckpt']);
    expect(checkpoint.lastModelPath).toBe(join(root, 'last.ckpt'));
    expect((await readFile(checkpoint.lastModelPath, 'utf8')).includes('"globalStep\\":12')).toBe(
      true,
    );
  });

  it('links to the top-k file of the same step, relative to its own folder', async () => {
    await train({ saveLast: 'link', filename: 'in/{epoch}' }, [1, 2]);
    expect(await readlink(join(root, 'last.ckpt'))).toBe('in/epoch=1.ckpt');
  });

  it("leaves another's last.ckpt alone", async () => {
    await writeFile(join(root, 'last.ckpt'), 'precious');
    const checkpoint = await train({ saveLast: true }, [1]);
    expect(await readFile(join(root, 'last.ckpt'), 'utf8')).toBe('precious');
    expect(checkpoint.lastModelPath).toBe(join(root, 'last-v1.ckpt'));
  });

  it('may have a name of its own, by CHECKPOINT_NAME_LAST', async () => {
    const checkpoint = new ModelCheckpoint({ dirpath: root, saveLast: true, saveTopK: 0 });
    checkpoint.CHECKPOINT_NAME_LAST = '{epoch}-last';
    await train({}, [1, 2], { callbacks: checkpoint });
    expect(await files()).toEqual(['epoch=1-last.ckpt']);
  });
});

describe('the triggers', () => {
  it.each<[ModelCheckpointOptions, string[]]>([
    [{ everyNTrainSteps: 4 }, ['step=12', 'step=4', 'step=8']],
    [{ everyNEpochs: 2 }, ['step=12', 'step=6']],
    [{ everyNValEpochs: 2 }, ['step=12', 'step=6']],
    [{ trainTimeInterval: { hours: 1 } }, []],
    [{ everyNEpochs: 0 }, []],
  ])('%j saves %j of 12 steps in 4 epochs', async (options, saved) => {
    await train({ ...options, saveTopK: -1, filename: '{step}' });
    expect(await files()).toEqual(saved.map((name) => `${name}.ckpt`));
  });

  it('warns that everyNValEpochs is deprecated', async () => {
    await train({ everyNValEpochs: 1 }, [1]);
    expect(messages.join()).toContain('Use everyNEpochs: 1');
  });

  it('save at every step with an interval of 0', async () => {
    await train({ trainTimeInterval: 0, saveTopK: -1, filename: '{step}' }, [1]);
    expect(await files()).toHaveLength(3);
  });

  it.each([
    [true, 'val_loss=3.0-loss=2.0'],
    [false, 'val_loss=3.0-loss=3.0'],
  ])('saveOnTrainEpochEnd: %s sees the epoch mean or the last step', async (flag, name) => {
    const filename = '{val_loss:.1f}-{loss:.1f}';
    await train({ saveOnTrainEpochEnd: flag, filename }, [3]);
    expect(await files()).toEqual([`${name}.ckpt`]);
  });
});

describe('a metric', () => {
  it('ranks only the weights it was measured on: a due save waits for a fresh value', async () => {
    const options = { monitor: 'val_loss', everyNTrainSteps: 2, filename: '{step}', saveTopK: -1 };
    await train(options, [5, 4]);
    // Due at steps 2, 4 and 6; measured at 3 and 6.
    expect(await files()).toEqual(['step=3.ckpt', 'step=6.ckpt']);
  });
});

describe('other options', () => {
  it('saveWeightsOnly leaves optimizer, loop and callback state out', async () => {
    const checkpoint = await train({ saveWeightsOnly: true }, [1]);
    const text = await readFile(checkpoint.bestModelPath, 'utf8');
    expect(text).toContain('weights');
    expect(text).not.toContain('loops');
  });

  it('autoInsertMetricName: false leaves names out', async () => {
    const filename = 'sample-mnist-epoch{epoch:02d}-val_loss{val_loss:.2f}';
    await train({ filename, autoInsertMetricName: false }, [0.32]);
    expect(await files()).toEqual(['sample-mnist-epoch00-val_loss0.32.ckpt']);
  });

  it('enableVersionCounter adds -v1, -v2…, or overwrites', async () => {
    await train({ filename: 'a', saveTopK: -1 });
    expect(await files()).toEqual(['a-v1.ckpt', 'a-v2.ckpt', 'a-v3.ckpt', 'a.ckpt']);
    await train({ filename: 'b', saveTopK: -1, enableVersionCounter: false });
    expect((await files()).filter((name) => name.startsWith('b'))).toEqual(['b.ckpt']);
  });

  it('saveOnException saves once more, under its own name, when fit throws', async () => {
    const failing = train({ saveOnException: true, everyNEpochs: 0, filename: '{step}' }, [1], {
      callbacks: [
        new ModelCheckpoint({
          dirpath: root,
          saveOnException: true,
          everyNEpochs: 0,
          filename: '{step}',
        }),
        {
          onTrainBatchStart: (_trainer, _module, _batch, batchIdx) => {
            if (batchIdx === 2) throw new Error('scripted');
          },
        },
      ],
    });
    await expect(failing).rejects.toThrow('scripted');
    expect(await files()).toEqual(['step=2.ckpt']);
  });

  it('verbose prints a line for each decision', async () => {
    await train({ monitor: 'val_loss', verbose: true, filename: '{epoch}' }, [1, 2]);
    expect(messages.join('\n')).toMatch(
      /saving '.*epoch=0\.ckpt' \(topK, score 1\)\n.*score 2 is not better/,
    );
  });

  it('constants have the names and values of Lightning, and can be changed on an instance', async () => {
    const { CHECKPOINT_JOIN_CHAR, CHECKPOINT_EQUALS_CHAR, CHECKPOINT_NAME_LAST } = ModelCheckpoint;
    expect([CHECKPOINT_JOIN_CHAR, CHECKPOINT_EQUALS_CHAR, CHECKPOINT_NAME_LAST]).toEqual([
      '-',
      '=',
      'last',
    ]);
    expect(ModelCheckpoint.FILE_EXTENSION).toBe('.ckpt');
    expect(ModelCheckpoint.STARTING_VERSION).toBe(1);
    const checkpoint = new ModelCheckpoint({ dirpath: root, filename: 'a', saveTopK: -1 });
    checkpoint.FILE_EXTENSION = '.safetensors';
    checkpoint.STARTING_VERSION = 5;
    checkpoint.CHECKPOINT_JOIN_CHAR = '_';
    await train({}, [1, 2], { callbacks: checkpoint });
    expect((await readdir(root)).filter((name) => name[0] !== '.').sort()).toEqual([
      'a.safetensors',
      'a_v5.safetensors',
    ]);
  });

  it('fastDevRun writes nothing', async () => {
    await train({ dirpath: join(root, 'none') }, [1], { fastDevRun: true });
    expect(await readdir(root)).toEqual([]);
  });
});

describe('formatCheckpointName', () => {
  const name = (
    filename: string | null,
    metrics: Record<string, number>,
    options: ModelCheckpointOptions & { given?: string } = {},
  ): string => {
    const { given, ...rest } = options;
    const checkpoint = new ModelCheckpoint({ dirpath: root, filename, ...rest });
    return basename(checkpoint.formatCheckpointName(metrics, given ? { filename: given } : {}));
  };

  it('gives the names of the page it comes from', () => {
    expect(name('{epoch}', { epoch: 0 })).toBe('epoch=0.ckpt');
    expect(name('{epoch:03d}', { epoch: 5 })).toBe('epoch=005.ckpt');
    const both = { epoch: 2, val_loss: 0.123456 };
    expect(name('{epoch}-{val_loss:.2f}', both)).toBe('epoch=2-val_loss=0.12.ckpt');
    expect(name('x', both, { given: '{epoch:d}' })).toBe('epoch=2.ckpt');
    const filename = 'epoch={epoch}-validation_loss={val_loss:.2f}';
    expect(name(filename, both, { autoInsertMetricName: false })).toBe(
      'epoch=2-validation_loss=0.12.ckpt',
    );
    expect(name('{missing:d}', {})).toBe('missing=0.ckpt');
    expect(name('{step}', { step: 0 })).toBe('step=0.ckpt');
    expect(name('checkpoint_{epoch:02d}-{acc:02d}', { epoch: 1, acc: 80 })).toBe(
      'checkpoint_epoch=01-acc=80.ckpt',
    );
    const sample = 'sample-mnist-{epoch:02d}-{val_loss:.2f}';
    expect(name(sample, { epoch: 2, val_loss: 0.32 })).toBe(
      'sample-mnist-epoch=02-val_loss=0.32.ckpt',
    );
    expect(name(null, { epoch: 0, step: 10 })).toBe('epoch=0-step=10.ckpt');
  });
});

describe('the methods', () => {
  it('saveCheckpoint saves now, by the same rules', async () => {
    const checkpoint = new ModelCheckpoint({ dirpath: root, everyNEpochs: 0, filename: '{step}' });
    const now = {
      onTrainBatchEnd: async (
        trainer: Trainer,
        _module: unknown,
        _out: unknown,
        _batch: unknown,
        batchIdx: number,
      ) => {
        if (batchIdx === 1) await checkpoint.saveCheckpoint(trainer);
      },
    };
    await train({}, [1], { callbacks: [checkpoint, now] });
    expect(await files()).toEqual(['step=2.ckpt']);
  });

  it('saveCheckpoint wants a Trainer that can save', async () => {
    const checkpoint = new ModelCheckpoint();
    await expect(checkpoint.saveCheckpoint({} as Trainer)).rejects.toThrow(TypeError);
  });

  it('fileExists counts saves that are on their way', async () => {
    const seen: boolean[] = [];
    const checkpoint = new ModelCheckpoint({ dirpath: root, filename: '{epoch}' });
    const look = {
      onTrainEpochStart: async (trainer: Trainer) => {
        seen.push(await checkpoint.fileExists(join(root, 'epoch=0.ckpt'), trainer));
      },
    };
    await train({}, [1, 2], { callbacks: [checkpoint, look] });
    expect(seen).toEqual([false, true]);
  });

  it('toYaml writes each path with its score', async () => {
    const checkpoint = new ModelCheckpoint({
      dirpath: root,
      monitor: 'val_loss',
      filename: '{epoch}',
    });
    await expect(checkpoint.toYaml()).rejects.toThrow('once fit has begun');
    await train({}, [Number.NaN], { callbacks: checkpoint });
    await checkpoint.flush();
    await checkpoint.toYaml();
    const { parse } = await import('yaml');
    const text = await readFile(join(root, 'best_k_models.yaml'), 'utf8');
    expect(parse(text)).toEqual({ [join(root, 'epoch=0.ckpt')]: Number.POSITIVE_INFINITY });
  });

  it('stateKey tells callbacks apart by what makes them different', () => {
    const checkpoint = new ModelCheckpoint({ monitor: 'a', trainTimeInterval: { minutes: 1 } });
    expect(checkpoint.stateKey).toBe(
      'ModelCheckpoint{"monitor":"a","mode":"min","everyNTrainSteps":0,"everyNEpochs":0,' +
        '"trainTimeInterval":60000,"saveOnTrainEpochEnd":null}',
    );
  });
});

it('writes the bytes of one hook once, and gives the file its other names', async () => {
  const { stat } = await import('node:fs/promises');
  await train({ monitor: 'val_loss', saveLast: true, filename: '{epoch}' }, [1]);
  const [best, last] = await Promise.all(
    ['epoch=0.ckpt', 'last.ckpt'].map((name) => stat(join(root, name))),
  );
  expect(best?.ino).toBe(last?.ino);
});
