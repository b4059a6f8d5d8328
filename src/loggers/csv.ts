import type { JsonObject, JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { MetricsFile, type Position } from './csv/metrics-file.ts';
import { LOG_FOLDER_NAMES, LogFolder, type LogFolderOptions } from './log-folder.ts';
import type { Logger } from './logger.ts';

/** What `new CSVLogger(options)` takes. */
export interface CSVLoggerOptions extends LogFolderOptions {
  /** Write rows to the file at least every so many steps, an integer of at least 1. Default 100. */
  readonly flushLogsEveryNSteps?: number;
  /** Told when a file that cannot be gone on with is set aside, or is missing. Default: `console.warn`. */
  readonly onWarning?: (message: string) => void;
}

const NAMES: OptionNames<CSVLoggerOptions> = {
  ...LOG_FOLDER_NAMES,
  flushLogsEveryNSteps: true,
  onWarning: true,
};

/**
 * Writes metrics to `<saveDir>/<name>/version_<n>/metrics.csv` and hyper-parameters to `hparams.yaml`
 * beside it. Node only.
 *
 * The first column is `step`; the others follow in the order in which their metrics were first logged, and
 * a metric that was not logged is an empty field. Numbers are written in the fewest digits that give back
 * the same double; `nan`, `inf` and `-inf` as Python spells them. Rows are added to the file; for a new
 * column it is written anew and replaced in one step. A `metrics.csv` that this run did not write is never
 * written to: it is renamed to `metrics.1.csv`, `metrics.2.csv`…, with a warning.
 *
 * Failures of the disk are thrown as Node's own errors; the rows are kept and written the next time.
 *
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.loggers.CSVLogger`, whose default name is
 * `lightning_logs`, which sorts its columns and deletes a file that is in its way.
 */
export class CSVLogger implements Logger {
  readonly #folder: LogFolder;
  readonly #flushEverySteps: number;
  readonly #onWarning: (message: string) => void;
  /** Set once the run has begun. */
  #file: MetricsFile | undefined;
  #lastFlushedStep = 0;

  /**
   * Touches no file.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
   */
  constructor(options: CSVLoggerOptions) {
    checkOptionNames('CSVLogger', options, NAMES);
    const { flushLogsEveryNSteps = 100 } = options;
    this.#folder = new LogFolder('CSVLogger', options);
    if (!Number.isSafeInteger(flushLogsEveryNSteps) || flushLogsEveryNSteps < 1) {
      const allowed = 'an integer of at least 1';
      this.#folder.refuse('flushLogsEveryNSteps', flushLogsEveryNSteps, allowed);
    }
    this.#flushEverySteps = flushLogsEveryNSteps;
    this.#onWarning = options.onWarning ?? ((message) => console.warn(message));
  }

  get name(): string {
    return this.#folder.name;
  }

  /** As given until {@link setup} or {@link resume}, which make it absolute. */
  get saveDir(): string {
    return this.#folder.saveDir;
  }

  /** The version given, else the number of this run; undefined until `setup` or `resume` has found it. */
  get version(): number | string | undefined {
    return this.#folder.version;
  }

  /**
   * The run's own folder, absolute.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) before `setup` or `resume`.
   */
  get logDir(): string {
    return this.#folder.path;
  }

  /**
   * Begins a new run. Its number is one above the highest there is, or that of a logger in `begun` which
   * writes to the same place; two processes never get the same. A `metrics.csv` that stands in the folder of
   * a given version is set aside.
   */
  async setup(begun: readonly Logger[] = []): Promise<void> {
    if (this.#file !== undefined) return;
    await this.#folder.begin(begun);
    const file = await this.#open();
    await file.begin();
    this.#file = file;
  }

  /**
   * Goes on in the folder of an earlier run. Rows and columns that were added after `position` was read
   * are removed, so that the file ends as that of a run which was never interrupted.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) when `position` is not one of a CSVLogger's.
   */
  async resume(version: number | string, position: JsonValue): Promise<void> {
    if (position !== null && !isPosition(position)) {
      const allowed = 'what position() returned: {rows, columns}';
      this.#folder.refuse('position', JSON.stringify(position), allowed);
    }
    await this.#file?.flush(true);
    await this.#folder.enter(version);
    const file = await this.#open();
    await file.restore(position);
    this.#file = file;
  }

  /** Rows and columns so far, those not yet written included. */
  position(): Position {
    return this.#begun().position;
  }

  /** The numbers of the runs there are, lowest first; only its own when the version was given. */
  async versions(): Promise<readonly number[]> {
    return await this.#folder.versions();
  }

  /** Adds a row. A metric named `step` yields to the step. */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void | Promise<void> {
    const file = this.#begun();
    file.add(metrics, step);
    const steps = Math.max(file.keptRows, Math.abs(step - this.#lastFlushedStep));
    if (steps < this.#flushEverySteps) return;
    this.#lastFlushedStep = step;
    return file.flush(false);
  }

  /** Replaces `hparams.yaml` by these. */
  async logHyperparams(hyperParameters: JsonObject): Promise<void> {
    await this.#folder.writeHyperparameters(hyperParameters);
  }

  /** Makes every row logged so far durable. */
  async save(): Promise<void> {
    await this.#file?.flush(true);
  }

  /** {@link save}. */
  async finalize(): Promise<void> {
    await this.save();
  }

  #begun(): MetricsFile {
    return this.#file ?? this.#folder.notBegun('the file');
  }

  async #open(): Promise<MetricsFile> {
    return new MetricsFile(await this.#folder.file('metrics.csv'), this.#onWarning);
  }
}

function isPosition(value: JsonValue): value is Position {
  if (typeof value !== 'object' || value === null) return false;
  const { rows, columns } = value as Partial<Record<keyof Position, unknown>>;
  const isList = Array.isArray(columns) && columns.every((name) => typeof name === 'string');
  return Number.isSafeInteger(rows) && Number(rows) >= 0 && isList && columns[0] === 'step';
}
