import { MisconfigurationError } from '../errors.ts';
import type { FitOptions } from './call-options.ts';
import { type DataSource, dataSources, inOrder } from './data-source.ts';
import type { Hooks } from './hooks.ts';
import { batchCount } from './schedule.ts';
import type { TrainerSettings } from './settings.ts';
import type { TrainingModule } from './training-module.ts';

/** What a fit trains and validates on. */
export interface FitData {
  readonly train: DataSource;
  /** Batches of a training epoch; Infinity when the data has no length and no limit. */
  readonly trainBatches: number;
  readonly val: readonly DataSource[];
  /** Batches of each validation source. */
  readonly valLimits: readonly number[];
  readonly hasValidation: boolean;
}

/**
 * The data given to `fit`, else the module's own, under the Trainer's limits.
 *
 * @throws MisconfigurationError when there is none, when it is empty, and for a fraction of no length.
 */
export async function fitData(
  hooks: Hooks,
  module: TrainingModule,
  options: FitOptions,
  settings: TrainerSettings,
): Promise<FitData> {
  const given =
    options.trainDataloaders ??
    (await hooks.guard('trainDataloader', () => module.trainDataloader?.()));
  if (given === undefined) {
    throw new MisconfigurationError(
      `Trainer.fit: there is no training data. Pass {trainDataloaders} or give ${module.constructor.name} a ` +
        `trainDataloader() method.`,
    );
  }
  if (given.length === 0) {
    throw new MisconfigurationError('Trainer.fit: the training data is empty: its length is 0.');
  }
  const train = settings.isOverfitting ? inOrder(given) : given;
  const trainBatches = batchCount('limitTrainBatches', train, settings.limitTrainBatches);
  if (module.validationStep === undefined) {
    return { train, trainBatches, val: [], valLimits: [], hasValidation: false };
  }
  const validation =
    options.valDataloaders ?? (await hooks.guard('valDataloader', () => module.valDataloader?.()));
  const sources = dataSources(validation);
  const val = settings.isOverfitting ? sources.map(inOrder) : sources;
  const valLimits = val.map((source) =>
    batchCount('limitValBatches', source, settings.limitValBatches),
  );
  const hasValidation = valLimits.some((limit) => limit > 0);
  return { train, trainBatches, val, valLimits, hasValidation };
}
