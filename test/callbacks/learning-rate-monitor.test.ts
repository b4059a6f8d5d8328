import { expect, it } from 'vitest';
import {
  LearningRateMonitor,
  type LearningRateMonitorOptions,
  type Logger,
  type LRSchedulerConfig,
  stepLR,
} from '../../src/index.ts';
import {
  ArrayModule,
  type LossAndGradients,
  type ScheduledSgd,
  type Sgd,
} from '../support/array-module.ts';
import { quietTrainer } from '../support/recorded-hooks.ts';

class Model extends ArrayModule<number> {
  readonly #lrScheduler: LRSchedulerConfig | undefined;

  constructor(lrScheduler?: LRSchedulerConfig) {
    super({ weight: [0] });
    this.#lrScheduler = lrScheduler;
  }
  override configureOptimizers(): Sgd | ScheduledSgd {
    const optimizer = { learningRate: 1 };
    return this.#lrScheduler === undefined
      ? optimizer
      : { optimizer, lrScheduler: this.#lrScheduler };
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { weight: [1] } };
  }
}

const half = (more: Partial<LRSchedulerConfig> = {}): LRSchedulerConfig => ({
  scheduler: stepLR({ stepSize: 1, gamma: 0.5 }),
  ...more,
});

it.each<[string, LRSchedulerConfig | undefined, LearningRateMonitorOptions, unknown[]]>([
  [
    'at epochs, where the schedule moves on',
    half(),
    {},
    [
      [0, { lr: 1 }],
      [4, { lr: 0.5 }],
    ],
  ],
  [
    'at every other step, where the schedule moves on',
    half({ interval: 'step' }),
    {},
    [1, 3, 5, 7].map((step) => [step, { lr: 0.5 ** step }]),
  ],
  [
    'where it is told to',
    half(),
    { loggingInterval: 'step' },
    [1, 3, 5, 7].map((step) => [step, { lr: step < 4 ? 1 : 0.5 }]),
  ],
  [
    'under the name of the schedule',
    half({ name: 'lr-head' }),
    {},
    [
      [0, { 'lr-head': 1 }],
      [4, { 'lr-head': 0.5 }],
    ],
  ],
  [
    'also when it stays as it is',
    undefined,
    {},
    [
      [0, { lr: 1 }],
      [4, { lr: 1 }],
    ],
  ],
])('logs the rate %s', async (_, lrScheduler, options, expected) => {
  const rows: unknown[] = [];
  const logger: Logger = {
    ...{ saveDir: '.', name: 'x', version: 0 },
    logMetrics: (values, step) => void rows.push([step, values]),
  };
  const callbacks = new LearningRateMonitor(options);
  const trainer = quietTrainer({ maxEpochs: 2, logEveryNSteps: 2, logger, callbacks });
  await trainer.fit(new Model(lrScheduler), { trainDataloaders: [1, 2, 3, 4] });
  expect(rows).toEqual(expected);
});

it('needs a logger', async () => {
  const trainer = quietTrainer({ maxEpochs: 1, callbacks: new LearningRateMonitor() });
  const fit = trainer.fit(new Model(), { trainDataloaders: [1] });
  await expect(fit).rejects.toThrow(/LearningRateMonitor: there is no logger/);
});
