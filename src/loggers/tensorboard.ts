import type { JsonObject, JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { LOG_FOLDER_NAMES, LogFolder, type LogFolderOptions } from './log-folder.ts';
import type { Logger } from './logger.ts';
import { hparamsEvent, scalarsEvent } from './tensorboard/event.ts';
import { EventFile } from './tensorboard/event-file.ts';

/** What `new TensorBoardLogger(options)` takes. */
export interface TensorBoardLoggerOptions extends LogFolderOptions {
  /** Write events to the file at least every so many of them, an integer of at least 1. Default 100. */
  readonly flushLogsEveryNSteps?: number;
  /** Told when a file cannot be gone on with. Default: `console.warn`. */
  readonly onWarning?: (message: string) => void;
}

const NAMES: OptionNames<TensorBoardLoggerOptions> = {
  ...LOG_FOLDER_NAMES,
  flushLogsEveryNSteps: true,
  onWarning: true,
};

/** What a checkpoint stores of it. */
type Position = {
  readonly file: string;
  readonly bytes: number;
  readonly hasHyperparameters: boolean;
};

/**
 * Writes metrics as scalars to `<saveDir>/<name>/version_<n>/events.out.tfevents.…`, which `tensorboard
 * --logdir <saveDir>` shows, and hyper-parameters there and to `hparams.yaml` beside it. Node only.
 *
 * Values are float32, NaN and ±Infinity included. A resumed run goes on in the same file, from where the
 * checkpoint was saved: no point is lost or there twice. Failures of the disk are thrown as Node's own
 * errors; the points are kept and written the next time.
 *
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.loggers.TensorBoardLogger`, whose default name is
 * `lightning_logs`.
 */
export class TensorBoardLogger implements Logger {
  readonly #folder: LogFolder;
  readonly #flushEveryEvents: number;
  readonly #onWarning: (message: string) => void;
  /** Both are of a run that has begun. */
  #file: EventFile | undefined;
  #hasHyperparameters = false;

  /**
   * Touches no file.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
   */
  constructor(options: TensorBoardLoggerOptions) {
    checkOptionNames('TensorBoardLogger', options, NAMES);
    const { flushLogsEveryNSteps = 100 } = options;
    this.#folder = new LogFolder('TensorBoardLogger', options);
    if (!Number.isSafeInteger(flushLogsEveryNSteps) || flushLogsEveryNSteps < 1) {
      const allowed = 'an integer of at least 1';
      this.#folder.refuse('flushLogsEveryNSteps', flushLogsEveryNSteps, allowed);
    }
    this.#flushEveryEvents = flushLogsEveryNSteps;
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

  /** Begins a new run, in a new file; its number is found as a `CSVLogger` finds it. */
  async setup(begun: readonly Logger[] = []): Promise<void> {
    if (this.#file !== undefined) return;
    await this.#folder.begin(begun);
    this.#file = await this.#begin();
  }

  /**
   * Goes on in the file of an earlier run: points that were added after `position` was read are removed. A
   * position that is not known, or a file that is gone, begins a new file beside it.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) when `position` is not one of a TensorBoardLogger's.
   */
  async resume(version: number | string, position: JsonValue): Promise<void> {
    if (position !== null && !isPosition(position)) {
      const allowed = 'what position() returned: {file, bytes, hasHyperparameters}';
      this.#folder.refuse('position', JSON.stringify(position), allowed);
    }
    await this.#file?.flush(true);
    await this.#folder.enter(version);
    this.#hasHyperparameters = position?.hasHyperparameters ?? false;
    this.#file = (await this.#goOn(position)) ?? (await this.#begin());
  }

  async #goOn(position: Position | null): Promise<EventFile | undefined> {
    if (position === null) return undefined;
    const path = await this.#folder.file(position.file);
    const file = await EventFile.goOn(path, position.bytes);
    if (file === undefined) {
      this.#hasHyperparameters = false;
      this.#onWarning(
        `TensorBoardLogger: ${path} is gone or has lost points, which cannot be brought back: a new file is begun.`,
      );
    }
    return file;
  }

  /** The file it writes to and how far it has come, events not yet written included. */
  position(): Position {
    const { path, bytes } = this.#begun();
    const file = path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
    return { file, bytes, hasHyperparameters: this.#hasHyperparameters };
  }

  /** The numbers of the runs there are, lowest first; only its own when the version was given. */
  async versions(): Promise<readonly number[]> {
    return await this.#folder.versions();
  }

  /** Adds a point for each metric. */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void | Promise<void> {
    const file = this.#begun();
    file.add(scalarsEvent(Date.now() / 1000, step, metrics));
    if (file.keptEvents >= this.#flushEveryEvents) return file.flush(false);
  }

  /** Once in a run, for the HPARAMS page; `hparams.yaml` is replaced each time. */
  async logHyperparams(hyperParameters: JsonObject): Promise<void> {
    const file = this.#begun();
    await this.#folder.writeHyperparameters(hyperParameters);
    if (this.#hasHyperparameters || Object.keys(hyperParameters).length === 0) return;
    file.add(hparamsEvent(Date.now() / 1000, hyperParameters));
    this.#hasHyperparameters = true;
  }

  /** Makes every point logged so far durable. */
  async save(): Promise<void> {
    await this.#file?.flush(true);
  }

  /** {@link save}. */
  async finalize(): Promise<void> {
    await this.save();
  }

  #begun(): EventFile {
    return this.#file ?? this.#folder.notBegun('the file');
  }

  /** TensorBoard reads a folder's files in the order of their names, and takes the time from there. */
  async #begin(): Promise<EventFile> {
    const { hostname } = await import('node:os');
    const seconds = Date.now() / 1000;
    const unique = `${Math.floor(seconds)}.${hostname()}.${process.pid}.${counter++}`;
    const path = await this.#folder.file(`events.out.tfevents.${unique}`);
    return EventFile.begin(path, seconds);
  }
}

/** Tells the files of one process and second apart. */
let counter = 0;

function isPosition(value: JsonValue): value is Position {
  if (typeof value !== 'object' || value === null) return false;
  const { file, bytes, hasHyperparameters } = value as Partial<Record<keyof Position, unknown>>;
  const isName = typeof file === 'string' && /^events\.out\.tfevents\.[^/\\\0]+$/.test(file);
  return isName && Number.isSafeInteger(bytes) && typeof hasHyperparameters === 'boolean';
}
