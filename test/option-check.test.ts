import { describe, expect, it } from 'vitest';
import { closest } from '../src/closest.ts';
import * as highwater from '../src/index.ts';
import * as inspection from '../src/inspection/index.ts';
import * as interop from '../src/interop/index.ts';
import { checkOptionNames } from '../src/option-check.ts';
import { ArrayModule, type LossAndGradients } from './support/array-module.ts';

class Model extends ArrayModule {
  logOptions: object = {};

  constructor() {
    super({ a: [0] });
  }
  override trainingStep(): LossAndGradients {
    this.log('loss', 1, this.logOptions);
    return { loss: 0, gradients: { a: [1] } };
  }
}

const quiet = {
  maxEpochs: 1,
  fastDevRun: true,
  enableProgressBar: false,
  console: { info: () => {}, warn: () => {} },
};

/** As in JavaScript, where nobody looks. */
const js = (options: object) => options as never;

describe('a value that cannot be meant is refused:', () => {
  const { ModelCheckpoint, stopOnSignals, Trainer } = highwater;
  it.each<[string, () => unknown, string]>([
    [
      'a flag',
      () => new ModelCheckpoint(js({ saveWeightsOnly: 'no' })),
      "is 'no', but it must be true",
    ],
    [
      'dirpath',
      () => new ModelCheckpoint(js({ dirpath: 5 })),
      'dirpath is 5, but it must be a path',
    ],
    [
      'a signal to stop on',
      () => stopOnSignals(js(['SIGFOO'])),
      "['SIGFOO'], but it must be some of",
    ],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(message);
  });

  it('what is no signal', async () => {
    const trainer = new Trainer(quiet);
    await expect(trainer.fit(new Model(), js({ signal: 'SIGINT' }))).rejects.toThrow(
      "Trainer.fit: signal is 'SIGINT', but it must be an AbortSignal",
    );
  });

  it('a folder in a cloud, of files on this disk', async () => {
    const training = (options: highwater.TrainerOptions, ckptPath?: string) =>
      new Trainer({ ...quiet, fastDevRun: false, logger: false, ...options }).fit(new Model(), {
        trainDataloaders: [0],
        ckptPath,
      });
    const checkpoint = new ModelCheckpoint({ dirpath: 's3://b/c' });
    await expect(training({ callbacks: checkpoint })).rejects.toThrow(
      's3://b/c: local files have no s3:// URLs. Give a path',
    );
    await expect(training({ defaultRootDir: 's3://b' })).rejects.toThrow('no s3:// URLs');
    await expect(training({ enableCheckpointing: false }, 's3://b/x.ckpt')).rejects.toThrow(
      'no s3:// URLs',
    );
  });
});

describe('an option that is misspelt is refused by', () => {
  const { Trainer, ModelCheckpoint } = highwater;
  const trainer = () => new Trainer(quiet);
  const rows: readonly (readonly [owner: string, call: () => unknown, message: string])[] = [
    [
      'ModelCheckpoint',
      () => new ModelCheckpoint(js({ saveTopk: 3 })),
      "ModelCheckpoint has no option 'saveTopk' (did you mean 'saveTopK'?).",
    ],
    [
      'ModelCheckpoint, in the spelling of Lightning',
      () => new ModelCheckpoint(js({ save_top_k: 3, every_n_epochs: 1 })),
      "no option 'save_top_k' (did you mean 'saveTopK'?), 'every_n_epochs' (did you mean 'everyNEpochs'?).",
    ],
    [
      'formatCheckpointName',
      () => new ModelCheckpoint().formatCheckpointName({}, js({ version: 2 })),
      "no option 'version'",
    ],
    ['Trainer', () => new Trainer(js({ max_epochs: 3 })), "(did you mean 'maxEpochs'?)"],
    [
      'Trainer, of what it does not have',
      () => new Trainer(js({ accelerator: 'gpu' })),
      "Trainer has no option 'accelerator'. It has maxEpochs, minEpochs, maxSteps,",
    ],
    [
      'EarlyStopping',
      () => new highwater.EarlyStopping(js({ monitor: 'a', min_delta: 1 })),
      'minDelta',
    ],
    [
      'LearningRateMonitor',
      () => new highwater.LearningRateMonitor(js({ interval: 'step' })),
      'loggingInterval',
    ],
    ['ModelSummary', () => new highwater.ModelSummary(js({ max_depth: 2 })), 'maxDepth'],
    ['ProgressBar', () => new highwater.ProgressBar(js({ steam: process.stderr })), 'stream'],
    ['CSVLogger', () => new highwater.CSVLogger(js({ saveDir: 'a', nmae: 'b' })), "'name'"],
    [
      'TensorBoardLogger',
      () => new highwater.TensorBoardLogger(js({ save_dir: 'a' })),
      "'saveDir'",
    ],
    ['DataLoader', () => new highwater.DataLoader([1], js({ batch_size: 2 })), "'batchSize'"],
    ['stepLR', () => highwater.stepLR(js({ step_size: 2 })), "'stepSize'"],
    ['multiStepLR', () => highwater.multiStepLR(js({ milestone: [2] })), "'milestones'"],
    ['exponentialLR', () => highwater.exponentialLR(js({ gama: 2 })), "'gamma'"],
    ['cosineAnnealingLR', () => highwater.cosineAnnealingLR(js({ T_max: 2 })), "'tMax'"],
    ['oneCycleLR', () => highwater.oneCycleLR(js({ max_lr: 2 })), "'maxLr'"],
    ['reduceLROnPlateau', () => highwater.reduceLROnPlateau(js({ min_lr: 2 })), "'minLr'"],
    ['localFiles', () => highwater.localFiles(js({ filesystem: {} })), 'It has fs.'],
    ['fit', () => trainer().fit(new Model(), js({ train_dataloaders: [1] })), "'trainDataloaders'"],
    ['fit, given an array', () => trainer().fit(new Model(), js([1])), 'the options are [1],'],
    [
      'fit, given text',
      () => trainer().fit(new Model(), 'last' as never),
      "the options are 'last',",
    ],
    ['fit, given null', () => trainer().fit(new Model(), null as never), 'the options are null,'],
    ['validate', () => trainer().validate(new Model(), js({ dataloader: [1] })), "'dataloaders'"],
    [
      'test',
      () => trainer().test(new Model(), js({ ckptpath: 'a' })),
      'Trainer.test has no option',
    ],
    [
      'saveCheckpoint',
      () => trainer().saveCheckpoint('a', js({ weights_only: true })),
      "'weightsOnly'",
    ],
    ['openCheckpoint', () => highwater.openCheckpoint('a', js({ storge: 1 })), "'storage'"],
    [
      'loadFromCheckpoint',
      () => Model.loadFromCheckpoint('a', {}, js({ Strict: false })),
      "'strict'",
    ],
    [
      'saveHyperparameters',
      () => new Model().saveHyperparameters({}, js({ ignored: [] })),
      "'ignore'",
    ],
    [
      'log',
      () => {
        const model = new Model();
        model.logOptions = { on_epoch: true };
        return trainer().fit(model, { trainDataloaders: [1] });
      },
      "log('loss') has no option 'on_epoch' (did you mean 'onEpoch'?).",
    ],
    ['inspect', () => inspection.inspect('a', js({ storge: 1 })), "'storage'"],
    ['planPrune', () => inspection.planPrune('.', js({ keep_top: 1 })), "'keepTop'"],
    ['diff', () => inspection.diff('a', 'b', js({ weights: true })), "'weightsOnly'"],
    [
      'verify',
      () => inspection.verify('a', js({ progress: 1 })).next(),
      "verify has no option 'progress'",
    ],
    ['exportNpz', () => interop.exportNpz('a', 'b', js({ renames: {} })), "'rename'"],
  ];

  it.each(rows)('%s', async (_, call, message) => {
    const attempt = (async () => await call())();
    await expect(attempt).rejects.toMatchObject({ code: 'MISCONFIGURATION' });
    await expect(attempt).rejects.toThrow(message);
  });
});

it('refuses names that every object has, and takes options that are undefined', () => {
  const check = (options: object) => checkOptionNames<{ a?: number }>('f', options, { a: true });
  expect(() => check({ toString: 1 })).toThrow("f has no option 'toString'. It has a.");
  expect(() => check(JSON.parse('{"__proto__": 1}'))).toThrow("'__proto__'");
  expect(check({ a: undefined })).toBeUndefined();
});

it.each([
  ['srot', ['json', 'sort', 'tree'], 'sort'],
  ['save_last', ['saveTopK', 'saveLast'], 'saveLast'],
  ['KEEP-TOP', ['keep-last', 'keep-top'], 'keep-top'],
  ['monitr', ['mode', 'monitor'], 'monitor'],
  ['keep', ['keep-last', 'keep'], 'keep'],
  ['weigths', ['weights', 'weight'], 'weights'],
  ['devices', ['dirpath', 'verbose', 'mode'], undefined],
  ['ab', ['ba'], undefined],
  ['', ['a'], undefined],
])('of %j in %j means %j', (word, known, meant) => {
  expect(closest(word, known)).toBe(meant);
});
