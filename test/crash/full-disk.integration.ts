import { execFileSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ModelCheckpoint, openCheckpoint, Trainer, type TrainerOptions } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

const DISK_BYTES = 2 ** 20;
/** Two of them have room, a third has none. */
const WEIGHTS = 100_000;

class Model extends ArrayModule {
  constructor() {
    super({ weight: new Float32Array(WEIGHTS) });
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { weight: this.weight('weight').map(() => 1) } };
  }
}

let disk: string;
let reason: string | undefined;

beforeEach(async () => {
  disk = await mkdtemp(join(tmpdir(), 'highwater-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk]);
    reason = undefined;
  } catch (error) {
    reason = `a small disk cannot be mounted here: ${String(error).split('\n')[0]}`;
    console.warn(`Skipped: ${reason}`);
  }
});
afterEach(async () => {
  if (reason === undefined) execFileSync('umount', [disk]);
  await rm(disk, { recursive: true });
});

interface Trained {
  readonly checkpoint: ModelCheckpoint;
  readonly error: unknown;
  readonly warnings: readonly string[];
  readonly steps: number;
}

/** Trains 5 steps and saves each in `disk/c`; `afterStep` is told of each. */
async function train(
  options: TrainerOptions,
  afterStep: (step: number) => void = () => {},
): Promise<Trained> {
  const warnings: string[] = [];
  const checkpoint = new ModelCheckpoint({
    dirpath: join(disk, 'c'),
    filename: '{step}',
    everyNTrainSteps: 1,
    saveTopK: -1,
  });
  const trainer = new Trainer({
    maxEpochs: 1,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    asyncSave: false,
    console: { info() {}, warn: (message) => warnings.push(message) },
    callbacks: checkpoint,
    onHookCompleted: (hook) => {
      if (hook === 'trainBatchEnd') afterStep(trainer.globalStep);
    },
    ...options,
  });
  const error: unknown = await trainer
    .fit(new Model(), { trainDataloaders: [1, 2, 3, 4, 5] })
    .then(() => undefined)
    .catch((thrown: unknown) => thrown);
  return { checkpoint, error, warnings, steps: trainer.globalStep };
}

const files = (): string[] => readdirSync(join(disk, 'c')).filter((name) => name !== '.highwater');

async function verify(names: readonly string[]): Promise<void> {
  for (const name of names) await (await openCheckpoint(join(disk, 'c', name))).verify();
}

it('a full disk ends fit with the bytes wanted and free, and loses nothing', async (test) => {
  if (reason !== undefined) return test.skip(reason);
  const { error, checkpoint } = await train({});
  expect(error).toMatchObject({
    code: 'SAVE_FAILED',
    details: { path: join(disk, 'c', 'step=3.ckpt') },
    cause: { code: 'STORAGE_NOSPACE', details: { code: 'ENOSPC' } },
  });
  const { details } = (error as { cause: { details: Record<string, number> } }).cause;
  expect(details.wantedBytes).toBeGreaterThan(4 * WEIGHTS);
  expect(details.freeBytes).toBeGreaterThan(0);
  expect(details.freeBytes).toBeLessThan(4 * WEIGHTS);
  expect((error as Error).message).toMatch(/[\d,]+ bytes were wanted\. [\d,]+ bytes are free/);
  expect(files().sort()).toEqual(['step=1.ckpt', 'step=2.ckpt']);
  await verify(files());
  expect(checkpoint.bestModelPath).toBe(join(disk, 'c', 'step=2.ckpt'));
});

it("with onSaveError: 'warn' training goes on, and saves again when there is room", async (test) => {
  if (reason !== undefined) return test.skip(reason);
  const { error, checkpoint, warnings, steps } = await train({ onSaveError: 'warn' }, (step) => {
    if (step === 4) rmSync(join(disk, 'c', 'step=1.ckpt'));
  });
  expect(error).toBeUndefined();
  expect(steps).toBe(5);
  expect(warnings).toEqual([
    expect.stringMatching(/step=3\.ckpt.*ENOSPC.*Training goes on\.$/),
    expect.stringMatching(/step=4\.ckpt.*ENOSPC.*Training goes on\.$/),
  ]);
  expect(files().sort()).toEqual(['step=2.ckpt', 'step=5.ckpt']);
  await verify(files());
  expect(checkpoint.bestModelPath).toBe(join(disk, 'c', 'step=5.ckpt'));
});

it('a disk that becomes read-only is said to be, and what is on it stays', async (test) => {
  if (reason !== undefined) return test.skip(reason);
  const remount = (mode: 'ro' | 'rw'): unknown =>
    execFileSync('mount', ['-o', `remount,${mode}`, disk]);
  const { error } = await train({}, (step) => {
    if (step === 1) remount('ro');
  });
  expect(error).toMatchObject({
    code: 'SAVE_FAILED',
    message: expect.stringContaining('the file system is read-only (EROFS)'),
    cause: { code: 'STORAGE_PERMISSION' },
  });
  expect(files()).toEqual(['step=1.ckpt']);
  await verify(files());

  const refused = await train({ onSaveError: 'warn' });
  expect(refused.error).toMatchObject({ code: 'STORAGE_PERMISSION' });
  expect(refused.steps).toBe(0);

  remount('rw');
  rmSync(join(disk, 'c', 'step=1.ckpt'));
  const {
    warnings,
    steps,
    error: none,
  } = await train({ onSaveError: 'warn' }, (step) => {
    if (step === 1) remount('ro');
    if (step === 3) remount('rw');
  });
  expect(none).toBeUndefined();
  expect(steps).toBe(5);
  expect(warnings).toEqual([
    expect.stringMatching(/step=2\.ckpt.*EROFS/),
    expect.stringMatching(/step=3\.ckpt.*EROFS/),
    // Two have room.
    expect.stringMatching(/step=5\.ckpt.*ENOSPC/),
  ]);
  expect(files().sort()).toEqual(['step=1.ckpt', 'step=4.ckpt']);
});
