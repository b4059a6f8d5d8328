import { type Decision, decide, needsMetrics, type PlannedSave } from '../checkpoint/decide.ts';
import type { CheckpointEvent, CheckpointHook } from '../checkpoint/event.ts';
import {
  checkTemplateContained,
  formatCheckpointName,
  type NamedValue,
} from '../checkpoint/file-name.ts';
import type { Naming } from '../checkpoint/file-path.ts';
import { absoluteFolder, pathInFolder } from '../checkpoint/folder.ts';
import type { KeptModels } from '../checkpoint/kept-models.ts';
import type { Mode } from '../checkpoint/monitor.ts';
import {
  type ModelCheckpointOptions,
  type ResolvedOptions,
  resolveOptions,
} from '../checkpoint/options.ts';
import {
  type CheckpointState,
  initialState,
  keeps,
  renamePath,
  stateKeyOf,
  stateToJson,
} from '../checkpoint/state.ts';
import { resolveSaveOnTrainEpochEnd } from '../checkpoint/triggers.ts';
import { withoutSave } from '../checkpoint/unsaved.ts';
import { VersionMemory } from '../checkpoint/version-memory.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import type { SaveReport } from '../saving/save-job.ts';
import { whereabouts } from '../saving/whereabouts.ts';
import { writeFile } from '../saving/write-file.ts';
import type { CheckpointHost, Checkpointing } from '../trainer/checkpointing.ts';
import type { Callback, Stage } from './callback.ts';
import { describeNote } from './model-checkpoint/describe-note.ts';
import { keptYaml } from './model-checkpoint/kept-yaml.ts';
import { restoredState } from './model-checkpoint/restored-state.ts';

/** What {@link ModelCheckpoint.formatCheckpointName} may be given instead of the callback's own. */
export interface FormatNameOptions {
  /** Template; default: the callback's `filename`. */
  readonly filename?: string;
  /** Added as `-v<ver>`. */
  readonly ver?: number;
  /** Put before the name, joined by `CHECKPOINT_JOIN_CHAR`. */
  readonly prefix?: string;
}

const FORMAT_NAMES: OptionNames<FormatNameOptions> = {
  filename: true,
  ver: true,
  prefix: true,
};

/**
 * Saves the model while it trains: the best by a monitored metric, the newest, or both. The rules are
 * PyTorch Lightning's `ModelCheckpoint`, except that a metric ranks only the weights it was measured on.
 *
 * It decides in the Trainer's hooks and touches no file itself: the Trainer's saver writes behind
 * training, durably, and removes a file only when its successor is durable. `flush()` waits for that.
 *
 * ```ts
 * const checkpoint = new ModelCheckpoint({ monitor: 'val_loss', saveTopK: 3, saveLast: true });
 * const trainer = new Trainer({ callbacks: [checkpoint] });
 * await trainer.fit(module);
 * checkpoint.bestModelPath;
 * ```
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) from the constructor for every option that cannot be.
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.callbacks.ModelCheckpoint`.
 */
export class ModelCheckpoint implements Callback {
  /** Joins the parts of the default name and the version. */
  static CHECKPOINT_JOIN_CHAR = '-';
  /** Stands between a metric's name and its value. */
  static CHECKPOINT_EQUALS_CHAR = '=';
  /** Template of the last file's name, without extension. */
  static CHECKPOINT_NAME_LAST = 'last';
  /** Extension of every file, with its dot. */
  static FILE_EXTENSION = '.ckpt';
  /** The first version that is added to a name that is taken. */
  static STARTING_VERSION = 1;

  CHECKPOINT_JOIN_CHAR: string = ModelCheckpoint.CHECKPOINT_JOIN_CHAR;
  CHECKPOINT_EQUALS_CHAR: string = ModelCheckpoint.CHECKPOINT_EQUALS_CHAR;
  CHECKPOINT_NAME_LAST: string = ModelCheckpoint.CHECKPOINT_NAME_LAST;
  FILE_EXTENSION: string = ModelCheckpoint.FILE_EXTENSION;
  STARTING_VERSION: number = ModelCheckpoint.STARTING_VERSION;

  readonly isCheckpoint = true;

  readonly #options: ResolvedOptions;
  /** As the Trainer resolved it, for the present run. */
  #saveOnTrainEpochEnd: boolean | undefined;
  #state: CheckpointState;
  /** What {@link bestKModels} gave last, made when it is asked for. */
  #listed: { readonly of: KeptModels; readonly map: ReadonlyMap<string, number> } | undefined;
  #clockMs: number | undefined;
  #lastSave: SaveReport | undefined;
  #trainer: CheckpointHost | undefined;
  /** Of the newest fit; it outlives it. */
  #checkpointing: Checkpointing | undefined;
  readonly #deprecations: string[] = [];
  readonly #versions = new VersionMemory();

  constructor(options: ModelCheckpointOptions = {}) {
    this.#options = resolveOptions(options);
    this.#saveOnTrainEpochEnd = this.#options.saveOnTrainEpochEnd;
    this.#state = initialState(this.#options.mode, absoluteFolder(options.dirpath, whereabouts()));
    if (options.everyNValEpochs !== undefined && options.everyNValEpochs !== null) {
      this.#deprecations.push(
        `ModelCheckpoint: everyNValEpochs is deprecated. Use everyNEpochs: ${options.everyNValEpochs}.`,
      );
    }
    if (this.#options.filename) checkTemplateContained(this.#options.filename, this.#naming);
  }

  // Options, as the constructor normalised them --------------------------------------------------------

  /** Template of the file name; undefined stands for `{epoch}-{step}`. */
  get filename(): string | undefined {
    return this.#options.filename;
  }
  get monitor(): string | undefined {
    return this.#options.monitor;
  }
  get mode(): Mode {
    return this.#options.mode;
  }
  get saveTopK(): number {
    return this.#options.saveTopK;
  }
  get saveLast(): boolean | 'link' {
    return this.#options.saveLast;
  }
  get saveWeightsOnly(): boolean {
    return this.#options.saveWeightsOnly;
  }
  /** In optimizer steps; 0 is off. */
  get everyNTrainSteps(): number {
    return this.#options.everyNTrainSteps;
  }
  /** In milliseconds; undefined is off, 0 is at every step. */
  get trainTimeIntervalMs(): number | undefined {
    return this.#options.trainTimeIntervalMs;
  }
  /** 0 is off. */
  get everyNEpochs(): number {
    return this.#options.everyNEpochs;
  }
  /** As given, or what the Trainer resolved it to once `fit` has begun. */
  get saveOnTrainEpochEnd(): boolean | undefined {
    return this.#saveOnTrainEpochEnd;
  }
  get autoInsertMetricName(): boolean {
    return this.#options.autoInsertMetricName;
  }
  get enableVersionCounter(): boolean {
    return this.#options.enableVersionCounter;
  }
  get saveOnException(): boolean {
    return this.#options.saveOnException;
  }
  get verbose(): boolean {
    return this.#options.verbose;
  }

  // State ----------------------------------------------------------------------------------------------

  /** Folder of the files, absolute; `''` until `fit` resolves it, when none was given. */
  get dirpath(): string {
    return this.#state.dirpath;
  }
  /** Path of the best file; without a monitor of the newest. `''` when there is none. */
  get bestModelPath(): string {
    return this.#state.bestModelPath;
  }
  /** Its score; undefined when there is none or no monitor. NaN is recorded as the worst possible value. */
  get bestModelScore(): number | undefined {
    return this.#state.bestModelScore;
  }
  /** Path → score of every kept file, in the order they were saved. */
  get bestKModels(): ReadonlyMap<string, number> {
    const { bestKModels } = this.#state;
    if (this.#listed?.of !== bestKModels) {
      this.#listed = { of: bestKModels, map: new Map(bestKModels) };
    }
    return this.#listed.map;
  }
  /** Path of the worst kept file, the next to go; `''` until `saveTopK` are kept. */
  get kthBestModelPath(): string {
    return this.#state.kthBestModelPath;
  }
  /** Its score, else the worst possible value (+∞ for `min`, −∞ for `max`). */
  get kthValue(): number {
    return this.#state.kthValue;
  }
  /** Path of the last file; `''` when there is none. */
  get lastModelPath(): string {
    return this.#state.lastModelPath;
  }
  /** The score last saved; a rejected score does not touch it. */
  get currentScore(): number | undefined {
    return this.#state.currentScore;
  }
  /** Identifies this callback's state in a checkpoint, by what makes it different from its siblings. */
  get stateKey(): string {
    return stateKeyOf(this.#options);
  }
  /** How many folders deep the names go below `dirpath`. */
  get folderDepth(): number {
    const slashes = (template: string | undefined): number => template?.split('/').length ?? 1;
    return Math.max(slashes(this.filename), slashes(this.CHECKPOINT_NAME_LAST)) - 1;
  }
  /** Whether a file is one that this callback counts as its own and still wants. */
  keeps(path: string): boolean {
    return keeps(this.#state, path);
  }
  /** What the newest save that is durable has cost; undefined before the first, and on ranks that do not save. */
  get lastSave(): SaveReport | undefined {
    return this.#lastSave;
  }

  // Methods --------------------------------------------------------------------------------------------

  /**
   * The path a checkpoint with these metrics would get, without looking whether it is free or inside
   * `dirpath`: `dirpath/name.ckpt`, or the bare name while there is no `dirpath`. `epoch` and `step`
   * print as integers; a metric that is missing prints as 0.
   */
  formatCheckpointName(
    metrics: Readonly<Record<string, number>>,
    options: FormatNameOptions = {},
  ): string {
    checkOptionNames('formatCheckpointName', options, FORMAT_NAMES);
    const values = new Map<string, NamedValue>();
    for (const [name, value] of Object.entries(metrics)) {
      const isCount = name === 'epoch' || name === 'step';
      values.set(name, { value, kind: isCount ? 'integer' : 'float' });
    }
    const { name } = formatCheckpointName(options.filename ?? this.filename, values, {
      ...this.#naming,
      prefix: options.prefix,
      version: options.ver,
    });
    return pathInFolder(this.dirpath, name);
  }

  /** Whether a file has this name once every save so far is done. The answer is the same on every rank. */
  async fileExists(path: string, trainer: CheckpointHost): Promise<boolean> {
    return await trainer.checkpointing.isTaken(path);
  }

  /**
   * Saves now, as if a save were due at this moment: top-k and last, by the same rules. Resolves when it
   * is on its way; see {@link flush}.
   *
   * @throws TypeError when the Trainer has no `saveCheckpoint`.
   */
  async saveCheckpoint(trainer: CheckpointHost): Promise<void> {
    if (typeof trainer?.saveCheckpoint !== 'function') {
      throw new TypeError(
        `ModelCheckpoint.saveCheckpoint(trainer) needs a Trainer: '.saveCheckpoint' is missing.`,
      );
    }
    await trainer.checkpointing.round(() => this.#decide(trainer, 'request'));
  }

  /**
   * Writes `bestKModels` as YAML, one `path: score` a line, in the order they were saved. Only rank 0 writes.
   *
   * @param path where to; default `<dirpath>/best_k_models.yaml`.
   */
  async toYaml(path: string = pathInFolder(this.dirpath, 'best_k_models.yaml')): Promise<void> {
    if (this.#checkpointing === undefined) {
      throw new MisconfigurationError(
        'ModelCheckpoint.toYaml: call it once fit has begun, or later.',
      );
    }
    if (!this.#checkpointing.isWriter) return;
    const bytes = new TextEncoder().encode(keptYaml(this.bestKModels));
    await writeFile(this.#checkpointing.storage, path, { replace: true }, (writer) =>
      writer.write([bytes]),
    );
  }

  /** Resolves when every save so far is durable. @throws HighwaterError (`SAVE_FAILED`) when one failed. */
  async flush(): Promise<void> {
    await this.#checkpointing?.flush();
  }

  // Hooks: each asks the rules -------------------------------------------------------------------------

  async setup(trainer: CheckpointHost, _module: unknown, stage: Stage): Promise<void> {
    this.#trainer = trainer;
    this.#checkpointing = trainer.checkpointing;
    for (const warning of this.#deprecations) trainer.warnOnce(warning);
    if (stage !== 'fit') return;
    const dirpath = this.dirpath || trainer.checkpointing.defaultFolder;
    this.#state = { ...this.#state, dirpath };
    this.#saveOnTrainEpochEnd =
      this.#options.saveOnTrainEpochEnd ?? resolveSaveOnTrainEpochEnd(trainer.validationSchedule);
    if (this.saveLast === 'link' && !trainer.checkpointing.storage.supportsSymlinks) {
      throw new MisconfigurationError(
        `ModelCheckpoint({saveLast: 'link'}): ${trainer.checkpointing.storage.name} storage has no symbolic ` +
          `links. Use saveLast: true.`,
      );
    }
  }

  onTrainStart(): void {
    this.#clockMs = performance.now();
  }
  async onTrainBatchEnd(trainer: CheckpointHost): Promise<void> {
    await this.#decide(trainer, 'trainBatchEnd');
  }
  async onValidationEnd(trainer: CheckpointHost): Promise<void> {
    await this.#decide(trainer, 'validationEnd');
  }
  async onTrainEpochEnd(trainer: CheckpointHost): Promise<void> {
    await this.#decide(trainer, 'trainEpochEnd');
  }
  async onTrainEnd(trainer: CheckpointHost): Promise<void> {
    await this.#decide(trainer, 'trainEnd');
  }
  async onException(trainer: CheckpointHost): Promise<void> {
    await this.#decide(trainer, 'exception');
  }
  /** The run was asked to stop and will be resumed. */
  async onInterrupt(trainer: CheckpointHost): Promise<void> {
    if (!this.saveWeightsOnly) await this.#decide(trainer, 'interrupt');
  }

  stateDict(): JsonValue {
    return stateToJson(this.#state);
  }

  /** Before `setup` there is nothing to compare the state with: it is believed. */
  async loadStateDict(json: JsonValue): Promise<void> {
    const trainer = this.#trainer;
    this.#state = await restoredState(json, this.#state, this.#options, {
      isInside: async (path) => (await trainer?.checkpointing.isInside(this.dirpath, path)) ?? true,
      isTaken: async (path) => (await trainer?.checkpointing.isTaken(path)) ?? true,
      rankedFiles: async () => (await trainer?.checkpointing.rankedFiles(this)) ?? [],
      warn: (message) => trainer?.warnOnce(message),
    });
  }

  onSaved(report: SaveReport): void {
    this.#lastSave = report;
  }

  /** A file could not be saved: what it was to displace is kept on. */
  onSaveFailed(save: PlannedSave): void {
    this.#state = withoutSave(this.#state, this.#options, save);
    this.#versions.free(save.path);
  }

  /** The saver gave a file another version, because another process took its name meanwhile. */
  renamePath(from: string, to: string): void {
    this.#state = renamePath(this.#state, from, to);
  }

  // ----------------------------------------------------------------------------------------------------

  get #naming(): Naming {
    return {
      dirpath: this.#state.dirpath,
      joinChar: this.CHECKPOINT_JOIN_CHAR,
      equalsChar: this.CHECKPOINT_EQUALS_CHAR,
      lastName: this.CHECKPOINT_NAME_LAST,
      extension: this.FILE_EXTENSION,
      startingVersion: this.STARTING_VERSION,
      autoInsertMetricName: this.#options.autoInsertMetricName,
      enableVersionCounter: this.#options.enableVersionCounter,
    };
  }

  async #decide(trainer: CheckpointHost, hook: CheckpointHook): Promise<void> {
    if (!trainer.checkpointing.maySave) return;
    const nowMs = performance.now();
    const { checkpointing } = trainer;
    const moment = await checkpointing.moment(hook, nowMs - (this.#clockMs ?? nowMs));
    this.#clockMs = nowMs;
    const options = { ...this.#options, saveOnTrainEpochEnd: this.#saveOnTrainEpochEnd };
    const isAsked = needsMetrics(this.#state, moment, options);
    const metrics: CheckpointEvent['metrics'] = isAsked
      ? await checkpointing.readings()
      : new Map();
    const event = { ...moment, metrics };

    // The rules are pure, so they can be asked again: until they need no name that was not looked up.
    const known = new Map<string, boolean>();
    for (;;) {
      const unknown: string[] = [];
      const decision = decide(this.#state, event, options, this.#naming, {
        isTaken: (path) => {
          const isTaken = known.get(path);
          if (isTaken === undefined) unknown.push(path);
          return isTaken ?? false;
        },
        firstVersion: (path, own) => this.#versions.first(path, own, this.STARTING_VERSION),
      });
      if (unknown.length === 0) {
        await this.#accept(trainer, decision);
        return;
      }
      try {
        for (const path of unknown) known.set(path, await this.fileExists(path, trainer));
      } catch (error) {
        checkpointing.notDecided(error);
        return;
      }
    }
  }

  async #accept(trainer: CheckpointHost, decision: Decision): Promise<void> {
    this.#state = decision.state;
    for (const { path } of decision.removals) this.#versions.free(path);
    for (const { path } of decision.saves) this.#versions.taken(path);
    for (const warning of decision.warnings) trainer.warnOnce(warning);
    if (this.verbose) for (const note of decision.notes) trainer.info(describeNote(note));
    await trainer.checkpointing.submit(this, decision);
  }
}
