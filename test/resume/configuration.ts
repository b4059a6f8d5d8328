import fc from 'fast-check';

/** One way to train, small enough to be stopped at each of its hooks. Plain JSON, so that it can be printed. */
export interface Configuration {
  readonly engine: 'array' | 'tfjs';
  readonly optimizer: 'sgd' | 'momentum' | 'adam' | 'rmsprop' | 'adagrad';
  readonly schedule: 'none' | 'step' | 'epoch' | 'plateau by step' | 'plateau by epoch';
  readonly loader: 'shuffled' | 'in order' | 'drop last' | 'array' | 'iterable without length';
  readonly batches: number;
  /** Loaders of validation data; 0: no validation. */
  readonly valLoaders: 0 | 1 | 2;
  readonly limitTrainBatches: number | undefined;
  readonly limitValBatches: number | undefined;
  readonly validation:
    | 'each epoch'
    | 'half an epoch'
    | 'every 2 batches'
    | 'every 3 batches across epochs'
    | 'every 2 epochs';
  readonly accumulateGradBatches: number;
  readonly gradientClipVal: number | undefined;
  readonly maxEpochs: number;
  readonly maxSteps: number | undefined;
  readonly logEveryNSteps: number;
  /** Of EarlyStopping; undefined: there is none. */
  readonly patience: number | undefined;
  readonly saveTopK: number;
  readonly saveLast: boolean | 'link';
  readonly secondTrigger: 'every 2 steps' | 'every 2.5 s' | 'every epoch';
  readonly asyncSave: boolean;
}

const PLAIN: Configuration = {
  engine: 'array',
  optimizer: 'momentum',
  schedule: 'none',
  loader: 'shuffled',
  batches: 4,
  valLoaders: 1,
  limitTrainBatches: undefined,
  limitValBatches: undefined,
  validation: 'each epoch',
  accumulateGradBatches: 1,
  gradientClipVal: undefined,
  maxEpochs: 2,
  maxSteps: undefined,
  logEveryNSteps: 1,
  patience: undefined,
  saveTopK: 2,
  saveLast: true,
  secondTrigger: 'every 2 steps',
  asyncSave: true,
};

/** The configurations that are always tried. */
export const CONFIGURATIONS: Readonly<Record<string, Configuration>> = {
  'one validation an epoch, two callbacks that save': PLAIN,
  'a validation in mid-epoch and mid-accumulation, by its schedule of plateaus': {
    ...PLAIN,
    accumulateGradBatches: 3,
    validation: 'every 2 batches',
    schedule: 'plateau by step',
    saveLast: 'link',
  },
  'half an epoch between validations on two loaders, under limits': {
    ...PLAIN,
    validation: 'half an epoch',
    valLoaders: 2,
    limitValBatches: 2,
    limitTrainBatches: 3,
    batches: 5,
    schedule: 'step',
  },
  'validations across epochs of data without length': {
    ...PLAIN,
    loader: 'iterable without length',
    validation: 'every 3 batches across epochs',
    accumulateGradBatches: 2,
    maxEpochs: 3,
  },
  'a timed save, gradients clipped, the last batch dropped': {
    ...PLAIN,
    loader: 'drop last',
    secondTrigger: 'every 2.5 s',
    gradientClipVal: 0.5,
    schedule: 'epoch',
    asyncSave: false,
  },
  'maxSteps in mid-epoch, without validation': {
    ...PLAIN,
    valLoaders: 0,
    maxEpochs: 5,
    maxSteps: 5,
    accumulateGradBatches: 2,
    logEveryNSteps: 2,
  },
  'EarlyStopping, that stops it': {
    ...PLAIN,
    maxEpochs: 8,
    batches: 2,
    patience: 1,
    secondTrigger: 'every epoch',
    saveTopK: -1,
  },
  'Adam of TensorFlow.js, with dropout': {
    ...PLAIN,
    engine: 'tfjs',
    optimizer: 'adam',
    accumulateGradBatches: 2,
    schedule: 'step',
    validation: 'every 2 batches',
  },
  'momentum of TensorFlow.js': {
    ...PLAIN,
    engine: 'tfjs',
    schedule: 'plateau by epoch',
    patience: 2,
  },
};

/** Any way to train. */
export const anyConfiguration: fc.Arbitrary<Configuration> = fc
  .record({
    engine: fc.constantFrom<Configuration['engine']>('array', 'array', 'array', 'tfjs'),
    optimizer: fc.constantFrom<Configuration['optimizer']>(
      'sgd',
      'momentum',
      'adam',
      'rmsprop',
      'adagrad',
    ),
    schedule: fc.constantFrom<Configuration['schedule']>(
      'none',
      'step',
      'epoch',
      'plateau by step',
      'plateau by epoch',
    ),
    loader: fc.constantFrom<Configuration['loader']>(
      'shuffled',
      'in order',
      'drop last',
      'array',
      'iterable without length',
    ),
    batches: fc.integer({ min: 2, max: 6 }),
    valLoaders: fc.constantFrom<Configuration['valLoaders']>(0, 1, 1, 2),
    limitTrainBatches: fc.option(fc.integer({ min: 2, max: 5 }), { nil: undefined }),
    limitValBatches: fc.option(fc.constant(2), { nil: undefined }),
    validation: fc.constantFrom<Configuration['validation']>(
      'each epoch',
      'half an epoch',
      'every 2 batches',
      'every 3 batches across epochs',
      'every 2 epochs',
    ),
    accumulateGradBatches: fc.integer({ min: 1, max: 4 }),
    gradientClipVal: fc.option(fc.constant(0.5), { nil: undefined }),
    maxEpochs: fc.integer({ min: 1, max: 3 }),
    maxSteps: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
    logEveryNSteps: fc.integer({ min: 1, max: 3 }),
    patience: fc.option(fc.integer({ min: 0, max: 2 }), { nil: undefined }),
    saveTopK: fc.constantFrom(-1, 0, 1, 2, 3),
    saveLast: fc.constantFrom<Configuration['saveLast']>(false, true, 'link'),
    secondTrigger: fc.constantFrom<Configuration['secondTrigger']>(
      'every 2 steps',
      'every 2.5 s',
      'every epoch',
    ),
    asyncSave: fc.boolean(),
  })
  .filter(
    ({ loader, validation, limitTrainBatches }) =>
      // A fraction of what has no length is refused.
      !(
        loader === 'iterable without length' &&
        validation === 'half an epoch' &&
        limitTrainBatches === undefined
      ),
  );
