import { MisconfigurationError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import { type OptionNames, refuseOption } from '../option-check.ts';
import { foldersIn, makeFolders, makeNewFolder, replaceText } from './durable-file.ts';
import type { Logger } from './logger.ts';

/** Where a logger's run lies. */
export interface LogFolderOptions {
  /** Folder that holds all runs; relative to the working folder. Made when it is missing. */
  readonly saveDir: string;
  /** Experiment: a folder below `saveDir`; may hold `/`, and `''` is none. Default `'highwater_logs'`. */
  readonly name?: string;
  /** Run: a number `n` is spelt `version_n`, a string stands as it is. Default: the next free number. */
  readonly version?: number | string;
}

export const LOG_FOLDER_NAMES: OptionNames<LogFolderOptions> = {
  saveDir: true,
  name: true,
  version: true,
};

/** `<saveDir>/<name>/version_<n>`: the folder of one logger's run, numbered unless its version is given. */
export class LogFolder {
  readonly name: string;
  readonly #logger: string;
  readonly #isVersionGiven: boolean;
  #saveDir: string;
  #version: number | string | undefined;
  #path: string | undefined;

  /**
   * Touches no file.
   *
   * @param logger the logger's name, for messages.
   * @throws MisconfigurationError (`MISCONFIGURATION`) naming the option, its value and what is allowed.
   */
  constructor(logger: string, { saveDir, name = 'highwater_logs', version }: LogFolderOptions) {
    this.#logger = logger;
    if (typeof saveDir !== 'string' || saveDir === '' || /^[a-z][a-z\d+.-]+:\/\//i.test(saveDir)) {
      this.refuse('saveDir', saveDir, 'a folder of this machine');
    }
    if (name !== '') this.#checkContained('name', name);
    if (version !== undefined) this.#checkVersion(version);
    this.name = name;
    this.#saveDir = saveDir;
    this.#version = version;
    this.#isVersionGiven = version !== undefined;
  }

  /** As given until {@link begin} or {@link enter}, which make it absolute. */
  get saveDir(): string {
    return this.#saveDir;
  }

  /** The version given, else the number of this run; undefined until `begin` or `enter`. */
  get version(): number | string | undefined {
    return this.#version;
  }

  /** Absolute. @throws MisconfigurationError (`MISCONFIGURATION`) before `begin` or `enter`. */
  get path(): string {
    return this.#path ?? this.notBegun('logDir');
  }

  /**
   * Makes the folder of a new run. Its number is one above the highest there is, or that of another logger
   * of the same Trainer in the same place; two processes never get the same.
   */
  async begin(begun: readonly Logger[]): Promise<void> {
    const root = await this.#root();
    const beside = begun.find(
      ({ saveDir, name, version }) =>
        saveDir === this.#saveDir && name === this.name && version !== undefined,
    );
    await this.enter(this.#version ?? beside?.version ?? (await this.#claim(root)));
  }

  /** Goes to the folder of a run that is there already, or whose number is claimed. */
  async enter(version: number | string): Promise<void> {
    this.#checkVersion(version);
    const { join } = await import('node:path');
    const folder = typeof version === 'number' ? `version_${version}` : version;
    const path = join(await this.#root(), folder);
    await makeFolders(path);
    this.#path = path;
    this.#version = version;
  }

  /** The numbers of the runs there are, lowest first; only its own when the version was given. */
  async versions(): Promise<readonly number[]> {
    const numbers = await this.#numbersTaken();
    return this.#isVersionGiven ? numbers.filter((n) => n === this.#version) : numbers;
  }

  /** The path of one of its files. */
  async file(name: string): Promise<string> {
    const { join } = await import('node:path');
    return join(this.path, name);
  }

  /** Replaces `hparams.yaml` by these. */
  async writeHyperparameters(hyperParameters: JsonObject): Promise<void> {
    const { stringify } = await import('yaml');
    await replaceText(await this.file('hparams.yaml'), stringify(hyperParameters));
  }

  notBegun(what: string): never {
    throw new MisconfigurationError(
      `${this.#logger}: ${what} is not known yet: the run begins with setup() or resume(), which trainer.fit ` +
        `calls.`,
    );
  }

  refuse(option: string, value: unknown, allowed: string): never {
    refuseOption(this.#logger, option, value, allowed);
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

  async #claim(root: string): Promise<number> {
    const { join } = await import('node:path');
    await makeFolders(root);
    let version = ((await this.#numbersTaken()).at(-1) ?? -1) + 1;
    while (!(await makeNewFolder(join(root, `version_${version}`)))) version++;
    return version;
  }

  #checkVersion(version: number | string): void {
    if (typeof version === 'string') {
      this.#checkContained('version', version);
    } else if (!Number.isSafeInteger(version) || version < 0) {
      this.refuse('version', version, 'an integer of at least 0, or a string');
    }
  }

  /** A relative path that does not leave its folder. */
  #checkContained(option: string, path: string): void {
    const parts = typeof path === 'string' ? path.split(/[/\\]/) : [''];
    const isContained = parts.every((part) => part !== '' && part !== '..' && !part.includes('\0'));
    if (!isContained || /^[a-z]:/i.test(path)) {
      this.refuse(option, path, 'the name of a folder, without .. and not beginning with /');
    }
  }
}
