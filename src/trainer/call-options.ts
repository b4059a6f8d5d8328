import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import type { DataSource } from './data-source.ts';

/** What `trainer.fit(module, options)` takes. */
export interface FitOptions {
  /** Training data; default: the module's `trainDataloader()`. */
  readonly trainDataloaders?: DataSource | undefined;
  /**
   * Validation data; default: the module's `valDataloader()`, else none. An array of DataLoaders is several
   * sources; an array of anything else is one, of which the elements are the batches.
   */
  readonly valDataloaders?: DataSource | readonly DataSource[] | undefined;
  /**
   * Resume: a path; `'last'`, the newest whole checkpoint of this run's folders, or a fresh start when
   * there is none; `'best'`, the best that the newest state names. Of several ranks, what rank 0 is given.
   */
  readonly ckptPath?: string | null | undefined;
  /** When aborted, training finishes the present step, saves, and `fit` rejects with an `AbortError`. */
  readonly signal?: AbortSignal | undefined;
}

const FIT_NAMES: OptionNames<FitOptions> = {
  trainDataloaders: true,
  valDataloaders: true,
  ckptPath: true,
  signal: true,
};

/** @throws MisconfigurationError for options that there are not, and a signal that is none. */
export function checkFitOptions(options: FitOptions): void {
  checkOptionNames('Trainer.fit', options, FIT_NAMES);
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    refuseOption('Trainer.fit', 'signal', signal, 'an AbortSignal, such as stopOnSignals() gives');
  }
}

/** What `trainer.validate`, `trainer.test` and `trainer.predict` take beside the module. */
export interface EvaluationOptions {
  /**
   * The data; default: the module's `valDataloader()`, `testDataloader()` or `predictDataloader()`. An array
   * of DataLoaders is several sources, as for `fit`.
   */
  readonly dataloaders?: DataSource | readonly DataSource[] | undefined;
  /**
   * Load these weights first, and leave them loaded: a path, `'best'` or `'last'`; full and weights-only
   * files. Default: the weights that the module has; when no module is given, `'best'` if there is one. Of several ranks, what
   * rank 0 is given, or the weights it has.
   */
  readonly ckptPath?: string | null | undefined;
  /** Print the metrics. Default true. */
  readonly verbose?: boolean | undefined;
}

export const EVALUATION_NAMES: OptionNames<EvaluationOptions> = {
  dataloaders: true,
  ckptPath: true,
  verbose: true,
};
