import { MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { foldersIn, makeFolders, makeNewFolder, replaceText } from './csv/durable-file.ts';
import { MetricsFile, type Position } from './csv/metrics-file.ts';
import type { Logger } from './logger.ts';

/** What `new CSVLogger(options)` takes. */
export interface CSVLoggerOptions {
  /** Folder that holds all runs; relative to the working folder. Made when it is missing. */
  readonly saveDir: string;
  /** Experiment: a folder below `saveDir`; may hold `/`, and `''` is none. Default `'highwater_logs'`. */
  readonly name?: string;
  /** Run: a number `n` is spelt `version_n`, a string stands as it is. Default: the next free number. */
  readonly version?: number | string;
  /** Write rows to the file at least every so many steps, an integer of at least 1. Default 100. */
  readonly flushLogsEveryNSteps?: number;
  /** Told when a file that cannot be gone on with is set aside, or is missing. Default: `console.warn`. */
  readonly onWarning?: (message: string) => void;
}

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
  readonly name: string;
  readonly #flushEverySteps: number;
  readonly #onWarning: (message: string) => void;
  readonly #isVersionGiven: boolean;
  #saveDir: string;
  #version: number | string | undefined;
  /** Both are set once the run has begun. */
  #logDir: string | undefined;
  #file: MetricsFile | undefined;
  #lastFlushedStep = 0;

  /**
   * Touches no file.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
   */
  constructor(options: CSVLoggerOptions) {
    const { saveDir, name = 'highwater_logs', version, flushLogsEveryNSteps = 100 } = options;
    if (typeof saveDir !== 'string' || saveDir === '' || /^[a-z][a-z\d+.-]+:\/\//i.test(saveDir)) {
      refuse('saveDir', saveDir, 'a folder of this machine');
    }
    if (name !== '') checkContained('name', name);
    if (version !== undefined) checkVersion(version);
    if (!Number.isSafeInteger(flushLogsEveryNSteps) || flushLogsEveryNSteps < 1) {
      refuse('flushLogsEveryNSteps', flushLogsEveryNSteps, 'an integer of at least 1');
    }
    this.name = name;
    this.#saveDir = saveDir;
    this.#version = version;
    this.#isVersionGiven = version !== undefined;
    this.#flushEverySteps = flushLogsEveryNSteps;
    this.#onWarning = options.onWarning ?? ((message) => console.warn(message));
  }

  /** As given until {@link setup} or {@link resume}, which make it absolute. */
  get saveDir(): string {
    return this.#saveDir;
  }

  /** The version given, else the number of this run; undefined until `setup` or `resume` has found it. */
  get version(): number | string | undefined {
    return this.#version;
  }

  /**
   * The run's own folder, absolute.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) before `setup` or `resume`.
   */
  get logDir(): string {
    return this.#logDir ?? notBegun('logDir');
  }

  /**
   * Begins a new run. Its number is one above the highest there is; two processes never get the same. A
   * `metrics.csv` that stands in the folder of a given version is set aside.
   */
  async setup(): Promise<void> {
    if (this.#file !== undefined) return;
    this.#version ??= await this.#claimVersion();
    const file = await this.#enter(this.#version);
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
    checkVersion(version);
    if (position !== null && !isPosition(position)) {
      refuse('position', JSON.stringify(position), 'what position() returned: {rows, columns}');
    }
    await this.#file?.flush(true);
    const file = await this.#enter(version);
    await file.restore(position);
    this.#version = version;
    this.#file = file;
  }

  /** Rows and columns so far, those not yet written included. */
  position(): Position {
    return this.#begun().position;
  }

  /** The numbers of the runs there are, lowest first; only its own when the version was given. */
  async versions(): Promise<readonly number[]> {
    const numbers = await this.#numbersTaken();
    return this.#isVersionGiven ? numbers.filter((n) => n === this.#version) : numbers;
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
    const { join } = await import('node:path');
    const { stringify } = await import('yaml');
    await replaceText(join(this.logDir, 'hparams.yaml'), stringify(hyperParameters));
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
    return this.#file ?? notBegun('the file');
  }

  async #root(): Promise<string> {
    const { join, resolve } = await import('node:path');
    this.#saveDir = resolve(this.#saveDir);
    return join(this.#saveDir, this.name);
  }

  async #numbersTaken(): Promise<number[]> {
    const names = await foldersIn(await this.#root());
    const numbers = names.map((name) => /^version_(0|[1-9]\d*)$/.exec(name)?.[1]);
    return numbers.flatMap((n) => (n === undefined ? [] : [Number(n)])).sort((a, b) => a - b);
  }

  async #claimVersion(): Promise<number> {
    const { join } = await import('node:path');
    const root = await this.#root();
    await makeFolders(root);
    let version = ((await this.#numbersTaken()).at(-1) ?? -1) + 1;
    while (!(await makeNewFolder(join(root, `version_${version}`)))) version++;
    return version;
  }

  async #enter(version: number | string): Promise<MetricsFile> {
    const { join } = await import('node:path');
    const folder = typeof version === 'number' ? `version_${version}` : version;
    this.#logDir = join(await this.#root(), folder);
    await makeFolders(this.#logDir);
    return new MetricsFile(join(this.#logDir, 'metrics.csv'), this.#onWarning);
  }
}

function isPosition(value: JsonValue): value is Position {
  if (typeof value !== 'object' || value === null) return false;
  const { rows, columns } = value as Partial<Record<keyof Position, unknown>>;
  const isList = Array.isArray(columns) && columns.every((name) => typeof name === 'string');
  return Number.isSafeInteger(rows) && Number(rows) >= 0 && isList && columns[0] === 'step';
}

function checkVersion(version: number | string): void {
  if (typeof version === 'string') {
    checkContained('version', version);
  } else if (!Number.isSafeInteger(version) || version < 0) {
    refuse('version', version, 'an integer of at least 0, or a string');
  }
}

/** A relative path that does not leave its folder. */
function checkContained(option: string, path: string): void {
  const parts = typeof path === 'string' ? path.split(/[/\\]/) : [''];
  const isContained = parts.every((part) => part !== '' && part !== '..' && !part.includes('\0'));
  if (!isContained || /^[a-z]:/i.test(path)) {
    refuse(option, path, 'the name of a folder, without .. and not beginning with /');
  }
}

function notBegun(what: string): never {
  throw new MisconfigurationError(
    `CSVLogger: ${what} is not known yet: the run begins with setup() or resume(), which trainer.fit calls.`,
  );
}

function refuse(option: string, value: unknown, allowed: string): never {
  const shown = typeof value === 'string' ? `'${value}'` : String(value);
  throw new MisconfigurationError(`CSVLogger: ${option} is ${shown}, but it must be ${allowed}.`, {
    details: { option, value },
  });
}
