import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Callback,
  type DataSource,
  HighwaterError,
  type Logger,
  ModelCheckpoint,
  stepLR,
} from '../../src/index.ts';
import { CheckpointReader } from '../../src/saving/checkpoint-reader.ts';
import { localFiles } from '../../src/storages/local.ts';
import {
  type HookCall,
  quietTrainer,
  RecordedModule,
  recordedCallback,
} from '../support/recorded-hooks.ts';

const names = (calls: readonly HookCall[]): string[] => calls.map(({ name }) => name);

describe('the order of hooks', () => {
  it('of fit is Lightning’s: callbacks before the module, the module before its step', async () => {
    const calls: HookCall[] = [];
    const trainer = quietTrainer({
      maxEpochs: 1,
      numSanityValSteps: 1,
      accumulateGradBatches: 2,
      callbacks: recordedCallback(calls),
    });
    const data = { trainDataloaders: [1, 2], valDataloaders: [3] };
    await trainer.fit(new RecordedModule(calls), data);
    const both = (hook: string): string[] => [`callback.${hook}`, `module.${hook}`];
    const validation = [
      ...both('onValidationStart'),
      ...both('onValidationEpochStart'),
      ...both('onValidationBatchStart'),
      'module.validationStep',
      ...both('onValidationBatchEnd'),
      ...both('onValidationEpochEnd'),
      ...both('onValidationEnd'),
    ];
    expect(names(calls)).toEqual([
      ...both('setup'),
      ...both('onBeforeOptimizerSetup'),
      ...both('onFitStart'),
      'callback.onSanityCheckStart',
      ...validation,
      'callback.onSanityCheckEnd',
      ...both('onTrainStart'),
      ...both('onTrainEpochStart'),
      ...both('onTrainBatchStart'),
      'module.trainingStep',
      ...both('onAfterBackward'),
      ...both('onTrainBatchEnd'),
      ...both('onTrainBatchStart'),
      'module.trainingStep',
      ...both('onAfterBackward'),
      ...both('onBeforeOptimizerStep'),
      ...both('onTrainBatchEnd'),
      ...validation,
      ...both('onTrainEpochEnd'),
      ...both('onTrainEnd'),
      ...both('onFitEnd'),
      ...both('teardown'),
    ]);
  });

  it.each([
    ['validate', 'Validation', 'validationStep'],
    ['test', 'Test', 'testStep'],
    ['predict', 'Predict', 'predictStep'],
  ] as const)('of %s has the hooks of that stage', async (method, stage, step) => {
    const calls: HookCall[] = [];
    const trainer = quietTrainer({ callbacks: recordedCallback(calls) });
    await trainer[method](new RecordedModule(calls), { dataloaders: [3] });
    const both = (hook: string): string[] => [`callback.${hook}`, `module.${hook}`];
    expect(names(calls)).toEqual([
      ...both('setup'),
      ...both(`on${stage}Start`),
      ...both(`on${stage}EpochStart`),
      ...both(`on${stage}BatchStart`),
      `module.${step}`,
      ...both(`on${stage}BatchEnd`),
      ...both(`on${stage}EpochEnd`),
      ...both(`on${stage}End`),
      ...both('teardown'),
    ]);
    const end = calls.find(({ name }) => name === `module.on${stage}BatchEnd`);
    expect(end?.args).toEqual([30, 3, 0, 0]);
  });

  it('puts callbacks that judge after the module, and those that save last', async () => {
    const order: string[] = [];
    const callback = (name: string, marks: Callback): Callback => ({
      ...marks,
      onTrainEpochEnd: () => void order.push(name),
    });
    class Module extends RecordedModule {
      override onTrainEpochEnd = (): void => void order.push('module');
    }
    const saves = Object.assign(new ModelCheckpoint({ saveTopK: 0 }), {
      onTrainEpochEnd: () => void order.push('saves'),
    });
    const callbacks = [saves, callback('judges', { isMonitor: true }), callback('plain', {})];
    const trainer = quietTrainer({ maxEpochs: 1, callbacks, enableCheckpointing: true });
    await trainer.fit(new Module([], []), { trainDataloaders: [1] });
    expect(order).toEqual(['plain', 'module', 'judges', 'saves']);
  });
});

it('onTrainBatchStart returning -1 skips the rest of the epoch', async () => {
  const calls: HookCall[] = [];
  class Skipping extends RecordedModule {
    override onTrainBatchStart = (batch: number): number | undefined =>
      batch === 2 ? -1 : undefined;
  }
  const trainer = quietTrainer({ maxEpochs: 2 });
  await trainer.fit(new Skipping(calls, ['onTrainEpochEnd', 'onTrainBatchEnd']), {
    trainDataloaders: [1, 2, 3],
  });
  const epoch = ['module.trainingStep', 'module.onTrainBatchEnd', 'module.onTrainEpochEnd'];
  expect(names(calls)).toEqual([...epoch, ...epoch]);
  expect(trainer.globalStep).toBe(2);
  expect(trainer.currentEpoch).toBe(2);
});

it('configureCallbacks adds callbacks, in place of those of the same class', async () => {
  const seen: string[] = [];
  class Named implements Callback {
    readonly #name: string;
    constructor(name: string) {
      this.#name = name;
    }
    onFitStart(): void {
      seen.push(this.#name);
    }
  }
  class Module extends RecordedModule {
    override configureCallbacks(): Callback[] {
      return [new Named('module'), { onFitStart: () => void seen.push('plain') }];
    }
  }
  const plain = { onFitStart: () => void seen.push('trainer') };
  const trainer = quietTrainer({ maxEpochs: 1, callbacks: [new Named('replaced'), plain] });
  await trainer.fit(new Module([], []), { trainDataloaders: [1] });
  expect(seen).toEqual(['trainer', 'module', 'plain']);
});

// What is thrown ------------------------------------------------------------------------------------

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-hooks-'));
});
afterEach(() => rm(root, { recursive: true }));

/** Throws at its nth call; else it returns what a step may return. */
function thrower(nth = 1): () => unknown {
  let calls = 0;
  return () => {
    calls++;
    if (calls === nth) throw new RangeError('of the user');
    return { loss: 0, gradients: {} };
  };
}

interface Broken {
  readonly module?: object;
  readonly callback?: Callback;
  readonly data?: object;
  readonly logger?: object;
}

const before = [
  'prepareData',
  'setup',
  'trainDataloader',
  'valDataloader',
  'onBeforeOptimizerSetup',
  'configureOptimizers',
  'onFitStart',
  'onTrainStart',
  'onTrainEpochStart',
];
const during = [
  'onTrainBatchStart',
  'trainingStep',
  'onAfterBackward',
  'onBeforeOptimizerStep',
  'onTrainBatchEnd',
  'onValidationStart',
  'onValidationEpochStart',
  'onValidationBatchStart',
  'validationStep',
  'onValidationBatchEnd',
  'onValidationEpochEnd',
  'onValidationEnd',
  'onTrainEpochEnd',
  'onSaveCheckpoint',
];
const cases: [hook: string, broken: () => Broken][] = [
  ...before.map((hook): [string, () => Broken] => [
    hook,
    () => ({ module: { [hook]: thrower() } }),
  ]),
  ...during.map((hook): [string, () => Broken] => [
    hook,
    () => ({ module: { [hook]: thrower(3) } }),
  ]),
  ...['onTrainEnd', 'onFitEnd', 'teardown'].map((hook): [string, () => Broken] => [
    hook,
    () => ({ module: { [hook]: thrower() } }),
  ]),
  ...['setup', 'onTrainEpochEnd', 'onSaveCheckpoint', 'onTrainBatchEnd'].map(
    (hook): [string, () => Broken] => [hook, () => ({ callback: { [hook]: thrower() } })],
  ),
  ['setEpoch', () => ({ data: { setEpoch: thrower(2) } })],
  [
    'the training data',
    () => ({
      data: {
        *[Symbol.iterator]() {
          yield 1;
          throw new RangeError('of the user');
        },
      },
    }),
  ],
  ['logger.setup', () => ({ logger: { setup: thrower() } })],
  ['logHyperparams', () => ({ logger: { logHyperparams: thrower() } })],
  ['logMetrics', () => ({ logger: { logMetrics: thrower(2) } })],
  ['logger.save', () => ({ logger: { save: thrower() } })],
  [
    'lrScheduler.step',
    () => ({
      module: {
        configureOptimizers: () => ({
          optimizer: { learningRate: 1 },
          lrScheduler: {
            ...stepLR({ stepSize: 1 }),
            step: thrower(2),
            stateDict: () => 0,
            loadStateDict: () => {},
          },
        }),
      },
    }),
  ],
];

it.each(cases)(
  'an error in %s arrives with its name; finished saves stay whole',
  async (hook, make) => {
    const { module = {}, callback = {}, data, logger } = make();
    const train: DataSource = Object.assign([1, 2], data);
    const loaders = { trainDataloader: () => train, valDataloader: () => [1, 2] };
    const recorded = Object.assign(new RecordedModule([], []), loaders, module);
    const place = { saveDir: root, name: 'x', version: 0, logMetrics: () => {} };
    const trainer = quietTrainer({
      maxEpochs: 3,
      numSanityValSteps: 0,
      logEveryNSteps: 1,
      enableCheckpointing: true,
      callbacks: [
        callback,
        new ModelCheckpoint({
          dirpath: root,
          saveTopK: -1,
          filename: '{step}',
          everyNTrainSteps: 1,
        }),
      ],
      logger: logger === undefined ? false : ({ ...place, ...logger } as Logger),
    });
    const error = await trainer.fit(recorded).then(
      () => undefined,
      (thrown: unknown) => thrown as HighwaterError,
    );
    expect(error).toBeInstanceOf(HighwaterError);
    expect(error?.message).toMatch(
      new RegExp(`^${hook} failed in epoch \\d at globalStep \\d: of the user$`),
    );
    expect(error?.cause).toBeInstanceOf(RangeError);
    const files = (await readdir(root)).filter((name) => name.endsWith('.ckpt'));
    // Whatever steps were saved before the error are there, each whole.
    const inTraining = during.includes(hook) && hook !== 'onSaveCheckpoint';
    if (inTraining && make().module !== undefined) expect(files.length).toBeGreaterThan(0);
    for (const name of files) {
      const reader = await CheckpointReader.open(localFiles(), join(root, name));
      expect(await reader.load(new Set(['model']))).toHaveLength(1);
    }
  },
);
