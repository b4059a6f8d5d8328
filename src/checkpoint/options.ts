import { MisconfigurationError } from '../errors.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import { type Duration, durationMs } from './duration.ts';
import { parseTemplate } from './file-name.ts';
import type { Mode } from './monitor.ts';

/** What `new ModelCheckpoint(options)` takes. Everything is optional; `null` counts as absent. */
export interface ModelCheckpointOptions {
  /**
   * Folder for the files: a path (`~` expands; made absolute at construction), a `file:` URL or a storage
   * URL. Absent: `<base>/<logger name>/<logger version>/checkpoints`, or `<base>/checkpoints` without a
   * logger, where base is the Trainer's `weightsSavePath`, else the logger's `saveDir`, else
   * `defaultRootDir`.
   */
  readonly dirpath?: string | URL | null;
  /** Template of the file name, without extension. Default `'{epoch}-{step}'`. */
  readonly filename?: string | null;
  /** The logged metric that ranks; absent: no ranking, the newest is kept. */
  readonly monitor?: string | null;
  /** Whether low or high values of `monitor` are better. Default `'min'`. */
  readonly mode?: Mode;
  /** How many best are kept: 0 none, -1 all. Default 1. Without `monitor` only -1, 0 and 1. */
  readonly saveTopK?: number;
  /**
   * `true`: `last.ckpt` follows the newest save. `'link'`: it is a symbolic link to the top-k file saved
   * at the same step, or a real file when none was. Default off.
   */
  readonly saveLast?: boolean | 'link' | null;
  /** Save weights and metadata only: small files that cannot be resumed from. Default false. */
  readonly saveWeightsOnly?: boolean;
  /** Save when `globalStep` is a multiple of this, in optimizer steps; 0 switches it off. */
  readonly everyNTrainSteps?: number | null;
  /** Save when this much training time has passed since the last time: milliseconds, or parts. 0: every step. */
  readonly trainTimeInterval?: Duration | null;
  /** Save every n epochs; 0 switches it off. Default 1 when neither of the two above is given. */
  readonly everyNEpochs?: number | null;
  /** Save at the train epoch's end (true) or at the end of validation (false). Default: SPEC, "When a save is due". */
  readonly saveOnTrainEpochEnd?: boolean | null;
  /** `{acc:.2f}` becomes `acc=0.91` rather than `0.91`. Default true. */
  readonly autoInsertMetricName?: boolean;
  /** Add `-v1`, `-v2`… rather than overwrite a file. Default true; false overwrites, `last` too. */
  readonly enableVersionCounter?: boolean;
  /** Save once more when `fit` throws, so that a resume goes on after the last hook that completed. Default false. */
  readonly saveOnException?: boolean;
  /** @deprecated Use `everyNEpochs`. */
  readonly everyNValEpochs?: number | null;
  /** Print a line for each decision. Default false. */
  readonly verbose?: boolean;
}

export const MODEL_CHECKPOINT_NAMES: OptionNames<ModelCheckpointOptions> = {
  dirpath: true,
  filename: true,
  monitor: true,
  mode: true,
  saveTopK: true,
  saveLast: true,
  saveWeightsOnly: true,
  everyNTrainSteps: true,
  trainTimeInterval: true,
  everyNEpochs: true,
  saveOnTrainEpochEnd: true,
  autoInsertMetricName: true,
  enableVersionCounter: true,
  saveOnException: true,
  everyNValEpochs: true,
  verbose: true,
};

/** The options as the rules use them: defaults filled in, units fixed. */
export interface ResolvedOptions {
  readonly filename: string | undefined;
  readonly monitor: string | undefined;
  readonly mode: Mode;
  readonly saveTopK: number;
  readonly saveLast: boolean | 'link';
  readonly saveWeightsOnly: boolean;
  /** 0 is off. */
  readonly everyNTrainSteps: number;
  /** Undefined is off; 0 is at every step. */
  readonly trainTimeIntervalMs: number | undefined;
  /** 0 is off. */
  readonly everyNEpochs: number;
  /** As given; what the Trainer resolves it to is set for the rules by the callback. */
  readonly saveOnTrainEpochEnd: boolean | undefined;
  readonly autoInsertMetricName: boolean;
  readonly enableVersionCounter: boolean;
  readonly saveOnException: boolean;
  readonly verbose: boolean;
}

/**
 * Checks the options and fills in the defaults.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) that names the option, its value and what is allowed.
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint.__init_triggers` and `__validate_init_configuration`.
 */
export function resolveOptions(options: ModelCheckpointOptions): ResolvedOptions {
  checkOptionNames('ModelCheckpoint', options, MODEL_CHECKPOINT_NAMES);
  const mode = options.mode ?? 'min';
  if (mode !== 'min' && mode !== 'max') refuse('mode', mode, `'min' or 'max'`);
  const monitor = resolveMonitor(options.monitor);
  const saveTopK = options.saveTopK ?? 1;
  if (!Number.isSafeInteger(saveTopK) || saveTopK < -1) {
    refuse('saveTopK', saveTopK, 'an integer of at least -1 (-1 keeps all, 0 none)');
  }
  if (monitor === undefined && saveTopK > 1) {
    refuse('saveTopK', saveTopK, `-1, 0 or 1 without 'monitor': there is no metric to rank by`);
  }
  const { filename } = options;
  if (filename !== undefined && filename !== null && typeof filename !== 'string') {
    refuse('filename', filename, `a string such as '{epoch}-{val_loss:.2f}'`);
  }
  if (filename) parseTemplate(filename);
  const { dirpath } = options;
  if (!(dirpath === undefined || dirpath === null || isPath(dirpath))) {
    refuse('dirpath', dirpath, 'a path or a file: URL');
  }
  for (const name of FLAGS) {
    const flag: unknown = options[name] ?? undefined;
    if (flag !== undefined && typeof flag !== 'boolean') refuse(name, flag, 'true or false');
  }
  return {
    ...resolveTriggers(options),
    filename: filename ?? undefined,
    monitor,
    mode,
    saveTopK,
    saveLast: options.saveLast === 'link' ? 'link' : Boolean(options.saveLast),
    saveWeightsOnly: options.saveWeightsOnly ?? false,
    saveOnTrainEpochEnd: options.saveOnTrainEpochEnd ?? undefined,
    autoInsertMetricName: options.autoInsertMetricName ?? true,
    enableVersionCounter: options.enableVersionCounter ?? true,
    saveOnException: options.saveOnException ?? false,
    verbose: options.verbose ?? false,
  };
}

const FLAGS = [
  'saveWeightsOnly',
  'saveOnTrainEpochEnd',
  'autoInsertMetricName',
  'enableVersionCounter',
  'saveOnException',
  'verbose',
] as const satisfies readonly (keyof ModelCheckpointOptions)[];

function isPath(given: unknown): boolean {
  return typeof given === 'string' || given instanceof URL;
}

function resolveMonitor(monitor: string | null | undefined): string | undefined {
  if (monitor === undefined || monitor === null) return undefined;
  if (typeof monitor !== 'string' || monitor === '') {
    refuse('monitor', monitor, `the name of a logged metric, such as 'val_loss'`);
  }
  return monitor;
}

function resolveTriggers(
  options: ModelCheckpointOptions,
): Pick<ResolvedOptions, 'everyNTrainSteps' | 'trainTimeIntervalMs' | 'everyNEpochs'> {
  const steps = options.everyNTrainSteps ?? undefined;
  const epochs = options.everyNEpochs ?? options.everyNValEpochs ?? undefined;
  for (const [name, count] of [
    ['everyNTrainSteps', steps],
    ['everyNEpochs', epochs],
  ] as const) {
    if (count !== undefined && (!Number.isSafeInteger(count) || count < 0)) {
      refuse(name, count, 'an integer of at least 0 (0 switches it off)');
    }
  }
  const interval = options.trainTimeInterval ?? undefined;
  const trainTimeIntervalMs =
    interval === undefined ? undefined : durationMs('trainTimeInterval', interval);

  const isNoneGiven = steps === undefined && epochs === undefined && interval === undefined;
  const everyNTrainSteps = steps ?? 0;
  const everyNEpochs = epochs ?? (isNoneGiven ? 1 : 0);
  const active = [everyNTrainSteps > 0, everyNEpochs > 0, trainTimeIntervalMs !== undefined];
  if (active.filter(Boolean).length > 1) {
    throw new MisconfigurationError(
      `ModelCheckpoint takes one trigger, but more than one is active: everyNTrainSteps=${everyNTrainSteps}, ` +
        `everyNEpochs=${everyNEpochs}, trainTimeInterval=${trainTimeIntervalMs ?? 'none'} ms. ` +
        `Use one ModelCheckpoint for each.`,
      { details: { everyNTrainSteps, everyNEpochs, trainTimeIntervalMs } },
    );
  }
  return { everyNTrainSteps, trainTimeIntervalMs, everyNEpochs };
}

function refuse(option: string, value: unknown, allowed: string): never {
  refuseOption('ModelCheckpoint', option, value, allowed);
}
