import { MisconfigurationError } from '../errors.ts';
import type { FitOptions } from './call-options.ts';
import { checkSource, type DataSource, dataSources, inOrder } from './data-source.ts';
import type { Hooks } from './hooks.ts';
import type { Ranks } from './ranks.ts';
import { batchCount } from './schedule.ts';
import type { BatchLimit, TrainerSettings } from './settings.ts';
import { shardOf } from './share.ts';
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
  /** Of a fit that validates nothing although a part of what it takes is there: what is missing, as sentences. */
  readonly whyUnvalidated: string | undefined;
}

/**
 * The data given to `fit`, else the module's own, under the Trainer's limits; with several ranks this rank's
 * part of each batch, and as many batches on every rank.
 *
 * @throws MisconfigurationError when there is none, when it is empty, and for a fraction of no length.
 */
export async function fitData(
  hooks: Hooks,
  module: TrainingModule,
  options: FitOptions,
  settings: TrainerSettings,
  ranks: Ranks,
  warn: (message: string) => void,
): Promise<FitData> {
  const whole = await wholeData(hooks, module, options, settings);
  if (whole.whyUnvalidated !== undefined && !isOff(settings.limitValBatches)) {
    warn(`Trainer.fit validates nothing: ${whole.whyUnvalidated}`);
  }
  if (!ranks.areMany) return whole;
  const { rank, count } = ranks;
  await agreeOnLengths(ranks, [whole.trainBatches, ...whole.valLimits]);
  const train = shardOf(whole.train, rank, count);
  if (train === undefined) {
    warn(
      `The training data cannot be divided among ${count} ranks, so each trains on all of every batch: right, but ` +
        `no faster than one. Use a DataLoader, or give the data source a shard(rank, worldSize) method.`,
    );
  }
  return { ...whole, train: train ?? whole.train, val: shardsOf(whole.val, ranks) };
}

/** Each source as this rank reads it. */
export function shardsOf(
  sources: readonly DataSource[],
  { areMany, rank, count }: Ranks,
): readonly DataSource[] {
  if (!areMany) return sources;
  return sources.map((source) => shardOf(source, rank, count) ?? source);
}

/** @throws MisconfigurationError on every rank when one has other data. */
export async function agreeOnLengths(ranks: Ranks, batches: readonly number[]): Promise<void> {
  const all = await ranks.gather(batches);
  const lists = (all as readonly (readonly number[])[]).map((list) => list.map(String));
  const other = lists.findIndex((list) => JSON.stringify(list) !== JSON.stringify(lists[0]));
  if (other < 0) return;
  throw ranks.share(
    new MisconfigurationError(
      `The ranks have different data: rank 0 has loaders of ${lists[0]?.join(', ')} batches, rank ${other} of ` +
        `${lists[other]?.join(', ')}. Give all ranks the same.`,
      { details: { batches: lists } },
    ),
  );
}

async function wholeData(
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
  checkSource('Trainer.fit', 'trainDataloaders', given);
  if (given.length === 0) {
    throw new MisconfigurationError('Trainer.fit: the training data is empty: its length is 0.');
  }
  const train = settings.isOverfitting ? inOrder(given) : given;
  const trainBatches = batchCount('limitTrainBatches', train, settings.limitTrainBatches);
  if (module.validationStep === undefined) {
    const hasData = options.valDataloaders !== undefined || module.valDataloader !== undefined;
    const whyUnvalidated = hasData
      ? `there is validation data, but ${module.constructor.name} has no validationStep() method.`
      : undefined;
    return { train, trainBatches, val: [], valLimits: [], hasValidation: false, whyUnvalidated };
  }
  const validation =
    options.valDataloaders ?? (await hooks.guard('valDataloader', () => module.valDataloader?.()));
  const sources = dataSources(validation);
  for (const source of sources) checkSource('Trainer.fit', 'valDataloaders', source);
  const val = settings.isOverfitting ? sources.map(inOrder) : sources;
  const valLimits = val.map((source) =>
    batchCount('limitValBatches', source, settings.limitValBatches),
  );
  const hasValidation = valLimits.some((limit) => limit > 0);
  const whyUnvalidated = hasValidation ? undefined : whyNone(module, val, settings);
  return { train, trainBatches, val, valLimits, hasValidation, whyUnvalidated };
}

function whyNone(
  module: TrainingModule,
  sources: readonly DataSource[],
  { limitValBatches }: TrainerSettings,
): string {
  if (isOff(limitValBatches)) return 'limitValBatches is 0.';
  if (sources.length > 0) return 'the validation data is empty: its length is 0.';
  const { name } = module.constructor;
  return (
    `${name} has a validationStep() method, but there is no validation data. Pass {valDataloaders} to fit, ` +
    `or give ${name} a valDataloader() method.`
  );
}

function isOff(limit: BatchLimit): boolean {
  return ('count' in limit ? limit.count : limit.fraction) === 0;
}
