import { describe, expect, it } from 'vitest';
import {
  ModelCheckpoint,
  type ModelCheckpointOptions,
  memoryFiles,
  type Storage,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { CheckpointReader } from '../../src/saving/checkpoint-reader.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';
import { refusingStorage } from '../support/refusing-storage.ts';

class Model extends ArrayModule {
  readonly throwsAt: number | undefined;
  constructor(throwsAt?: number) {
    super({ weight: [0] });
    this.throwsAt = throwsAt;
  }
  override trainingStep(batch: number): LossAndGradients {
    if (batch === this.throwsAt) throw new Error('no gradients today');
    return { loss: batch, gradients: { weight: [1] } };
  }
}

interface Job {
  readonly storage?: Storage;
  readonly checkpoint?: ModelCheckpointOptions;
  readonly trainer?: TrainerOptions;
  /** The 1-based batch that throws. */
  readonly throwsAt?: number;
  /** After how many optimizer steps it is asked to stop, once what was saved by then has ended; 0: at once. */
  readonly stopAfter?: number;
  /** Called when it is asked to stop. */
  readonly onStop?: () => void;
}

async function train(job: Job): Promise<{ error: Error; warnings: readonly string[] }> {
  const { storage = memoryFiles(), checkpoint, throwsAt, stopAfter = 2, onStop } = job;
  const warnings: string[] = [];
  const controller = new AbortController();
  const stop = (): void => {
    onStop?.();
    controller.abort();
  };
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    maxEpochs: 1,
    storage,
    console: { info: () => {}, warn: (message) => warnings.push(message) },
    callbacks: checkpoint ? new ModelCheckpoint({ dirpath: '/c', ...checkpoint }) : [],
    onHookCompleted: async () => {
      while (trainer.pendingSaves > 0) await new Promise((resolve) => setTimeout(resolve, 1));
      if (trainer.globalStep === stopAfter && throwsAt === undefined) stop();
    },
    ...job.trainer,
  });
  const fit = trainer.fit(new Model(throwsAt), {
    trainDataloaders: [1, 2, 3],
    signal: controller.signal,
  });
  const error = await fit.then(
    () => new Error('it ended'),
    (error: Error) => error,
  );
  return { error, warnings };
}

async function stepOf(storage: Storage, path: string): Promise<unknown> {
  return (await CheckpointReader.open(storage, path)).document?.globalStep;
}

describe('a save that failed before, of which nobody was told', () => {
  const failsAtStep2 = (): Storage => {
    let refusals = 1;
    return refusingStorage((path) => path === '/c/step=2.ckpt' && refusals-- > 0);
  };
  const everyStep = { everyNTrainSteps: 1, filename: '{step}' };

  it('does not prevent the save of an interrupted run', async () => {
    const storage = failsAtStep2();
    const { error, warnings } = await train({
      storage,
      checkpoint: { ...everyStep, saveLast: true },
    });
    expect(error).toMatchObject({
      name: 'AbortError',
      message: 'Training was interrupted; its state is saved.',
    });
    expect(warnings).toEqual([expect.stringContaining("Saving '/c/step=2.ckpt' failed")]);
    expect(await stepOf(storage, '/c/last.ckpt')).toBe(2);
  });

  it('does not prevent the save of a run that ends with an exception', async () => {
    const storage = failsAtStep2();
    const { error, warnings } = await train({
      storage,
      checkpoint: { ...everyStep, saveLast: true, saveOnException: true },
      throwsAt: 3,
    });
    expect(error).toMatchObject({ code: 'HOOK_FAILED' });
    expect(warnings).toEqual([expect.stringContaining("Saving '/c/step=2.ckpt' failed")]);
    expect(await stepOf(storage, '/c/last.ckpt')).toBe(2);
  });
});

describe('an interrupted run does not claim a saved state when', () => {
  it.each<[string, Job, RegExp]>([
    [
      'there is no checkpoint callback',
      { trainer: { enableCheckpointing: false } },
      /; nothing was saved: there is no ModelCheckpoint\.$/,
    ],
    [
      'no step was taken',
      { checkpoint: {}, stopAfter: 0 },
      /; nothing was saved: no optimizer step was taken yet\.$/,
    ],
    [
      'all callbacks save weights only',
      { checkpoint: { saveWeightsOnly: true, everyNTrainSteps: 1 } },
      /; nothing was saved: every ModelCheckpoint has saveWeightsOnly, and training cannot go on /,
    ],
    [
      'it is a fastDevRun',
      { trainer: { fastDevRun: 2 }, stopAfter: 1 },
      /; nothing was saved: fast/,
    ],
  ])('%s', async (_, job, message) => {
    const { error } = await train(job);
    expect(error.name).toBe('AbortError');
    expect(error.message).toMatch(message);
  });

  it.each([true, false])('its save fails (asyncSave: %s)', async (asyncSave) => {
    let isFull = false;
    const { error } = await train({
      storage: refusingStorage(() => isFull),
      checkpoint: { saveLast: true },
      trainer: { asyncSave },
      onStop: () => {
        isFull = true;
      },
    });
    expect(error).toMatchObject({
      name: 'AbortError',
      message: expect.stringMatching(
        /^Training was interrupted; saving its state failed: Saving '\/c\/last\.ckpt' failed: No space/,
      ),
      cause: { code: 'SAVE_FAILED' },
    });
  });

  it("its save fails with onSaveError: 'warn'", async () => {
    let isFull = false;
    const { error, warnings } = await train({
      storage: refusingStorage(() => isFull),
      checkpoint: { saveLast: true },
      trainer: { onSaveError: 'warn' },
      onStop: () => {
        isFull = true;
      },
    });
    expect(error.message).toBe(
      'Training was interrupted; nothing was saved: no ModelCheckpoint could save; see the warnings.',
    );
    expect(warnings).toHaveLength(1);
  });
});
