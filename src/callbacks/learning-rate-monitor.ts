import { MisconfigurationError } from '../errors.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import type { Trainer } from '../trainer/trainer.ts';
import type { Callback } from './callback.ts';

/** What `new LearningRateMonitor(options)` takes. */
export interface LearningRateMonitorOptions {
  /** Log at optimizer steps or at the start of epochs. Default: where the schedule moves on; without one, epochs. */
  readonly loggingInterval?: 'step' | 'epoch';
}

const NAMES: OptionNames<LearningRateMonitorOptions> = {
  loggingInterval: true,
};

/**
 * Sends the learning rate to the loggers, under the name of its schedule (default `lr`): the rate that the
 * step it stands at is taken with. At steps it does so every `logEveryNSteps`.
 *
 * @throws MisconfigurationError when training starts without a logger, or when the engine does not know the rate.
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.callbacks.LearningRateMonitor`, which names rates after
 * the optimizer's class.
 */
export class LearningRateMonitor implements Callback {
  readonly #interval: 'step' | 'epoch' | undefined;

  constructor(options: LearningRateMonitorOptions = {}) {
    checkOptionNames('LearningRateMonitor', options, NAMES);
    const { loggingInterval } = options;
    if (loggingInterval !== undefined && !['step', 'epoch'].includes(loggingInterval)) {
      refuseOption('LearningRateMonitor', 'loggingInterval', loggingInterval, "'step' or 'epoch'");
    }
    this.#interval = loggingInterval;
  }

  onTrainStart(trainer: Trainer): void {
    if (trainer.learningRate === undefined) {
      throw new MisconfigurationError(
        'LearningRateMonitor: the learning rate of this optimizer cannot be read.',
      );
    }
    // Only rank 0 has loggers.
    if (!trainer.isGlobalZero || trainer.loggers.length > 0 || trainer.settings.fastDevRun) return;
    throw new MisconfigurationError(
      'LearningRateMonitor: there is no logger to send the learning rate to. Give the Trainer one, or leave ' +
        'this callback out.',
    );
  }

  async onTrainEpochStart(trainer: Trainer): Promise<void> {
    if (this.#intervalOf(trainer) === 'epoch') await log(trainer);
  }

  async onBeforeOptimizerStep(trainer: Trainer): Promise<void> {
    const { logEveryNSteps } = trainer.settings;
    const isDue = logEveryNSteps > 0 && (trainer.globalStep + 1) % logEveryNSteps === 0;
    if (isDue && this.#intervalOf(trainer) === 'step') await log(trainer);
  }

  #intervalOf({ learningRateSchedule }: Trainer): 'step' | 'epoch' {
    return this.#interval ?? learningRateSchedule.interval;
  }
}

async function log({
  loggers,
  learningRate,
  learningRateSchedule,
  globalStep,
}: Trainer): Promise<void> {
  const row = { [learningRateSchedule.name]: learningRate ?? Number.NaN };
  for (const logger of loggers) await logger.logMetrics(row, globalStep);
}
