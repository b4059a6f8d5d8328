import type { OptionNames } from '../option-check.ts';
import type { ReduceFx } from './epoch-reduction.ts';

/** A number, or one of the engine's scalar tensors. */
export type LogValue = unknown;

/** How a metric is logged. Defaults depend on the hook, as in Lightning: see `TrainingModule.log`. */
export interface LogOptions {
  /** Keep the value of this step. Default: true in training steps, else false. */
  readonly onStep?: boolean;
  /** Keep the mean over the epoch. Default: false in training steps, else true. */
  readonly onEpoch?: boolean;
  /** Show it in the progress bar. Default false. */
  readonly progBar?: boolean;
  /** Send it to the loggers. Default true. */
  readonly logger?: boolean;
  /** Weight of this batch in the epoch's mean, above 0. Default 1. */
  readonly batchSize?: number;
  /** How the epoch's values become one: `'mean'` (the default), `'sum'`, `'min'` or `'max'`. */
  readonly reduceFx?: ReduceFx;
  /** With several loaders, add `/dataloader_idx_<n>` to the name. Default true. */
  readonly addDataloaderIdx?: boolean;
  /**
   * Reduce it over the ranks too: a mean weighted by `batchSize`, else by each rank's share of the batch; a sum is that of
   * all shares, or of one rank where all have the same whole batch; outside the hooks of batches, that of what each rank
   * logs. All ranks must log it in the same hooks. Without ranks it makes no difference. Default false: a rank has
   * the metric of its own share, and that of rank 0 decides.
   * What `saveOnException` saves of an error on rank 0 alone has no more than rank 0's part since the save before: a warning says so.
   */
  readonly syncDist?: boolean;
}

export const LOG_NAMES: OptionNames<LogOptions> = {
  onStep: true,
  onEpoch: true,
  progBar: true,
  logger: true,
  batchSize: true,
  reduceFx: true,
  addDataloaderIdx: true,
  syncDist: true,
};

/** Where in training a metric is logged from. */
export interface LogScope {
  readonly stage: 'train' | 'validation' | 'test';
  /** Whether this hook belongs to a batch; else to an epoch. */
  readonly isBatchHook: boolean;
  /** Appended to names when there are several loaders: `/dataloader_idx_1`. */
  readonly suffix: string;
}

/** {@link LogOptions} that hold for the whole epoch, with the defaults of their hook. */
export type ResolvedLogOptions = Required<
  Pick<LogOptions, 'onStep' | 'onEpoch' | 'progBar' | 'logger' | 'reduceFx' | 'syncDist'>
>;

export const REDUCTIONS: ReadonlySet<unknown> = new Set<ReduceFx>(['mean', 'sum', 'min', 'max']);

/** What is meant by the options that a hook has given. */
export function resolveLogOptions(
  options: LogOptions,
  { stage, isBatchHook }: LogScope,
): ResolvedLogOptions {
  const isTrainStep = stage === 'train' && isBatchHook;
  return {
    onStep: options.onStep ?? isTrainStep,
    onEpoch: options.onEpoch ?? !isTrainStep,
    progBar: options.progBar ?? false,
    logger: options.logger ?? true,
    reduceFx: options.reduceFx ?? 'mean',
    syncDist: options.syncDist ?? false,
  };
}
