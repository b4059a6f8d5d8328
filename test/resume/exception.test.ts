import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Callback, CSVLogger, ModelCheckpoint, Trainer } from '../../src/index.ts';
import { CONFIGURATIONS, type Configuration } from './configuration.ts';
import { makeModule } from './modules.ts';

const configuration = CONFIGURATIONS[
  'one validation an epoch, two callbacks that save'
] as Configuration;

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'highwater-exception-'));
});
afterEach(() => rmSync(root, { recursive: true }));

/** Trains, with a callback that may throw. Returns what is left. */
async function train(
  name: string,
  options: { readonly failing?: Callback; readonly ckptPath?: string } = {},
): Promise<unknown> {
  const { module, weights } = makeModule(configuration);
  const trainer = new Trainer({
    maxEpochs: 2,
    accumulateGradBatches: 3,
    valCheckInterval: { batches: 2 },
    logEveryNSteps: 1,
    seed: 3,
    defaultRootDir: join(root, name),
    enableProgressBar: false,
    enableModelSummary: false,
    callbacks: [
      ...(options.failing === undefined ? [] : [options.failing]),
      new ModelCheckpoint({
        dirpath: join(root, name, 'checkpoints'),
        filename: 'saved',
        everyNTrainSteps: 1000,
        saveOnException: true,
      }),
    ],
    logger: new CSVLogger({ saveDir: join(root, name), name: '', version: 'log' }),
    console: { info: () => {}, warn: () => {} },
  });
  await trainer.fit(module, {
    trainDataloaders: [
      [1, 2],
      [3, 0.5],
      [0.25, 1],
      [2, 2],
    ],
    valDataloaders: [[1], [2]],
    ...(options.ckptPath === undefined ? {} : { ckptPath: options.ckptPath }),
  });
  const rows = readFileSync(join(root, name, 'log', 'metrics.csv'), 'utf8');
  return { weights: weights(), metrics: trainer.callbackMetrics, rows };
}

const HOOKS: readonly (keyof Callback & `on${string}`)[] = [
  'onTrainEpochStart',
  'onTrainBatchStart',
  'onAfterBackward',
  'onBeforeOptimizerStep',
  'onTrainBatchEnd',
  'onValidationStart',
  'onValidationBatchStart',
  'onValidationBatchEnd',
  'onValidationEpochEnd',
  'onValidationEnd',
  'onTrainEpochEnd',
  'onTrainEnd',
];

it.each(HOOKS)('a run that an error in %s has ended is resumed exactly', async (hook) => {
  const whole = await train('whole');
  let resumes = 0;
  for (const failAt of [1, 2, 3, 5, 9]) {
    const name = `failed-${failAt}`;
    let calls = 0;
    const failing: Callback = {
      [hook]: (trainer: Trainer) => {
        if (!trainer.sanityChecking && ++calls === failAt) throw new RangeError('out of luck');
      },
    };
    const attempt = train(name, { failing });
    const isOver = await attempt.then(
      () => true,
      (error: { code?: string }) => {
        expect(error.code).toBe('HOOK_FAILED');
        return false;
      },
    );
    if (isOver) break;
    const folder = join(root, name, 'checkpoints');
    const saved = readdirSync(folder).filter((file) => file.endsWith('.ckpt'));
    if (saved.length === 0) continue; // Nothing is saved at step 0.
    expect(saved).toEqual(['saved.ckpt']);
    const resumed = await train(name, { ckptPath: join(folder, 'saved.ckpt') });
    expect(resumed).toEqual(whole);
    resumes++;
  }
  expect(resumes).toBeGreaterThan(0);
});
