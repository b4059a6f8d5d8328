import type { ModelCheckpoint } from '../callbacks/model-checkpoint.ts';
import type { ValidationSchedule } from '../checkpoint/triggers.ts';
import type { EngineState } from '../engines/engine.ts';
import { nextMacrotask } from '../event-loop.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { OptionNames } from '../option-check.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { Saver } from '../saving/saver.ts';
import { type Snapshot, takeSnapshot } from '../saving/snapshot.ts';
import { orderOf } from '../saving/stored-save.ts';
import type { Storage } from '../storages/storage.ts';
import { commonContent, keyAmong } from './checkpoint-content.ts';
import { prepareFolders } from './checkpoint-folders.ts';
import { type CheckpointHost, Checkpointing } from './checkpointing.ts';
import { findCheckpoint } from './find-checkpoint.ts';
import { MetricStore } from './metrics.ts';
import { absolutePath, defaultStorage, type MessageSink } from './options.ts';
import { EVERY_GROUP, restoreCallbacks } from './restore.ts';
import { finishFolders } from './resume.ts';
import { RunFolders, type SavingPlace } from './run-folders.ts';

/** A training loop that is not the Trainer's, as it tells of itself. */
export interface ForeignLoop {
  readonly state: EngineState;
  readonly hasValidation: boolean;
  /** 0-based epoch, at the end of training the number of finished epochs; optimizer steps taken so far. */
  position(): { readonly epoch: number; readonly globalStep: number };
  /** What its checkpoints hold beside what all do: where a resume goes on. */
  content(): JsonObject;
}

/** Where checkpoints go, and messages. */
export interface ForeignRunOptions {
  /** Where checkpoints live. Default: local files. */
  readonly storage?: Storage | undefined;
  /** Where messages go. Default: the console. */
  readonly console?: MessageSink | undefined;
}

export const FOREIGN_RUN_NAMES: OptionNames<ForeignRunOptions> = {
  storage: true,
  console: true,
};

/** Where a callback without `dirpath` saves: as the Trainer without a logger. */
const DEFAULT_FOLDER = 'checkpoints';

type Hook = 'onTrainBatchEnd' | 'onValidationEnd' | 'onTrainEpochEnd' | 'onTrainEnd';

/**
 * Lets `ModelCheckpoint`s work in a training loop that is not the Trainer's: the same rules, the same saver,
 * the same files. The loop tells what it logged and which hook it is at.
 */
export class ForeignRun implements CheckpointHost {
  readonly checkpointing: Checkpointing;
  readonly #loop: ForeignLoop;
  readonly #checkpoints: readonly ModelCheckpoint[];
  readonly #metrics: MetricStore;
  readonly #folders: RunFolders;
  readonly #console: MessageSink;
  readonly #warned = new Set<string>();
  #sequence = 0;
  #validations = 0;
  #isTraining = false;

  constructor(
    loop: ForeignLoop,
    checkpoints: readonly ModelCheckpoint[],
    { storage = defaultStorage(), console: sink = console }: ForeignRunOptions,
  ) {
    this.#loop = loop;
    this.#checkpoints = checkpoints;
    this.#console = sink;
    this.#metrics = new MetricStore(loop.state);
    this.#folders = new RunFolders({}, undefined, checkpoints);
    this.checkpointing = new Checkpointing(
      {
        owners: checkpoints,
        keyOf: keyAmong(checkpoints),
        maySave: () => this.#isTraining,
        moment: (hook, elapsedMs) => ({
          ...loop.position(),
          hook,
          tookStep: true,
          elapsedMs,
          hasValidated: !loop.hasValidation || this.#validations > 0,
        }),
        readings: () => this.#metrics.readings(loop.position().globalStep),
        capture: () => this.#capture(),
        announce: async () => undefined,
        position: () => loop.position(),
      },
      storage,
      new Saver({ storage }),
      false,
    );
    this.checkpointing.defaultFolder = this.#folders.defaultFolder() ?? '';
  }

  get validationSchedule(): ValidationSchedule {
    const { hasValidation } = this.#loop;
    return { checkValEveryNEpoch: 1, isOncePerEpoch: true, hasValidation };
  }

  info(message: string): void {
    this.#console.info(message);
  }

  warnOnce(message: string): void {
    if (this.#warned.has(message)) return;
    this.#warned.add(message);
    this.#console.warn(message);
  }

  async saveCheckpoint(
    path: string,
    { weightsOnly = false }: { readonly weightsOnly?: boolean } = {},
  ): Promise<void> {
    await this.checkpointing.saveFile(path, weightsOnly);
  }

  /** Training begins, anew or from what was restored. @throws MisconfigurationError, StorageError. */
  async begin(restored: CheckpointReader | undefined): Promise<void> {
    for (const checkpoint of this.#checkpoints) await checkpoint.setup(this, undefined, 'fit');
    const { checkpointing } = this;
    const folders = this.#folders.all(checkpointing.defaultFolder);
    await prepareFolders(checkpointing.storage, folders);
    const { document } = restored ?? {};
    if (restored !== undefined && document !== undefined) {
      checkpointing.resume(restored);
      const options = { mayWrite: true };
      const finished = await finishFolders(restored, checkpointing, this.#folders, options);
      for (const warning of finished.warnings) this.warnOnce(warning);
      this.#sequence = orderOf(document).sequence;
      await restoreCallbacks(document, this.#checkpoints);
      checkpointing.giveUp(finished.taken);
      this.#metrics.loadStateDict(document.metrics as JsonValue);
    }
    for (const checkpoint of this.#checkpoints) checkpoint.onTrainStart();
    this.#isTraining = true;
  }

  /** Metrics that were measured on the present weights: numbers or scalar tensors, which stay the caller's. */
  log(metrics: Readonly<Record<string, unknown>>): void {
    const scope = { stage: 'train', isBatchHook: true, suffix: '' } as const;
    for (const [name, value] of Object.entries(metrics)) this.#metrics.log(name, value, {}, scope);
    this.#metrics.commit();
    this.#metrics.publishStep('train', this.#loop.position().globalStep);
  }

  /** A hook of the loop: all callbacks decide, then everything is saved together. */
  async hook(name: Hook): Promise<void> {
    if (name === 'onValidationEnd') this.#validations++;
    await this.checkpointing.round(async () => {
      for (const checkpoint of this.#checkpoints) await checkpoint[name](this);
    });
    // A loop that awaits only settled promises would never let the writer go on.
    if (this.checkpointing.pendingSaves > 0) await nextMacrotask();
  }

  /** Training has ended: resolves when everything is durable. */
  async end(): Promise<void> {
    this.#isTraining = false;
    await this.checkpointing.flush();
    await this.#metrics.clear();
  }

  async #capture(): Promise<Snapshot> {
    const document: JsonObject = {
      ...commonContent({
        ...this.#loop.position(),
        sequence: ++this.#sequence,
        engine: this.#loop.state,
        callbacks: this.#checkpoints,
      }),
      metrics: await this.#metrics.stateDict(),
      ...this.#loop.content(),
    };
    return takeSnapshot(this.#loop.state, document, []);
  }
}

/** What `'last'` and `'best'` are looked for in: a folder, or where a callback saves. */
export type CheckpointPlace = string | URL | SavingPlace;

/**
 * The checkpoint that a path, or `'last'` or `'best'` of a place, means for a loop that is not the Trainer's.
 *
 * @param place default `checkpoints`. Of a folder, the files `*.ckpt` directly in it.
 * @returns undefined for `'last'` when there is none yet.
 * @throws MisconfigurationError for a file that training cannot go on from, and for `'best'` when there is none.
 */
export async function findState(
  path: string,
  place: CheckpointPlace = DEFAULT_FOLDER,
  { storage = defaultStorage(), console: sink = console }: ForeignRunOptions = {},
): Promise<CheckpointReader | undefined> {
  const isFolder = typeof place === 'string' || place instanceof URL;
  const owner = isFolder
    ? { dirpath: absolutePath(String(place)), folderDepth: 0, FILE_EXTENSION: '.ckpt' }
    : place;
  const found = await findCheckpoint(path, {
    storage,
    folders: new RunFolders({}, undefined, [owner]),
    logger: undefined,
    asked: (asked) => `restore('${asked}')`,
    warn: (message) => sink.warn(message),
  });
  return found?.reader;
}

/** Puts the whole state of a checkpoint back. @throws CheckpointMismatchError, CheckpointFileError; nothing is touched then. */
export async function loadState(state: EngineState, reader: CheckpointReader): Promise<void> {
  const { meta = {} } = (reader.document?.engine ?? {}) as { readonly meta?: JsonObject };
  await state.load(await reader.load(EVERY_GROUP), meta, { strict: true, weightsOnly: false });
}
