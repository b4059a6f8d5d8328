import type { Decision, Note, PlannedSave } from '../checkpoint/decide.ts';
import type { CheckpointEvent, CheckpointHook } from '../checkpoint/event.ts';
import type { ValidationSchedule } from '../checkpoint/triggers.ts';
import { HighwaterError, MisconfigurationError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { isContained } from '../saving/containment.ts';
import { type RankedFile, rankedFiles } from '../saving/recovery.ts';
import {
  type JournalLine,
  renamed,
  type SaveJob,
  type SaveName,
  type SaveReport,
  withoutNames,
} from '../saving/save-job.ts';
import type { Saver } from '../saving/saver.ts';
import type { Snapshot } from '../saving/snapshot.ts';
import { orderOf, type StoredName } from '../saving/stored-save.ts';
import type { Storage } from '../storages/storage.ts';
import { type CheckpointCost, NO_COST, withSave } from './checkpoint-cost.ts';
import { Ranks } from './ranks.ts';
import { type Happening, SharedFacts } from './shared-facts.ts';

/** A callback that saves, as the Trainer sees it. */
export interface CheckpointOwner {
  readonly dirpath: string;
  /** How many folders deep its names go below `dirpath`. */
  readonly folderDepth: number;
  /** What its names end in. */
  readonly FILE_EXTENSION: string;
  readonly saveWeightsOnly: boolean;
  /** Whether a file is one that it counts as its own and still wants. */
  keeps(path: string): boolean;
  renamePath(from: string, to: string): void;
  /** A save with files of this callback is durable. */
  onSaved(report: SaveReport): void;
  /** A file of this callback could not be saved. */
  onSaveFailed(save: PlannedSave): void;
}

/** What drives a callback that saves: the Trainer, or whatever else runs a training loop. */
export interface CheckpointHost {
  readonly checkpointing: Checkpointing;
  readonly validationSchedule: ValidationSchedule;
  info(message: string): void;
  /** The same message only once. */
  warnOnce(message: string): void;
  saveCheckpoint(path: string, options?: { readonly weightsOnly?: boolean }): Promise<void>;
}

/** What a training loop does for {@link Checkpointing}. */
export interface CheckpointSource {
  maySave(): boolean;
  readonly owners: readonly CheckpointOwner[];
  /** What an owner's state is stored under, and its files are told from those of its siblings by. */
  keyOf(owner: CheckpointOwner): string;
  moment(hook: CheckpointHook, elapsedMs: number): Omit<CheckpointEvent, 'metrics'>;
  readings(): Promise<CheckpointEvent['metrics']>;
  /** Takes hold of everything a checkpoint holds, now. */
  capture(): Promise<Snapshot>;
  /** Tells user code of a save, behind training and saving. Rejects with a HighwaterError. */
  announce(owner: CheckpointOwner): Promise<void>;
  /** Takes the error of a save that failed. Absent: the next hook throws it. */
  readonly saveFailed?: (error: HighwaterError) => void;
  position(): { readonly epoch: number; readonly globalStep: number };
}

/** What a callback has decided in this hook. */
interface Submitted {
  readonly owner: CheckpointOwner;
  readonly decision: Decision;
  /** Its part of the hook's job: follows what becomes of the files it speaks of until it is handed over. */
  draft: SaveJob;
}

/** How many lines for the journal may wait for a save. */
const MOST_UNWRITTEN = 100;

/**
 * Between the callbacks and the saver: collects what all callbacks decide in one hook, takes one snapshot,
 * and hands over one job. Callbacks reach it as `trainer.checkpointing`.
 */
export class Checkpointing {
  readonly storage: Storage;
  /** Where a callback without `dirpath` saves. */
  defaultFolder = '';
  /** The file this run was resumed from: never removed. */
  #resumedFrom: string | undefined;
  /** The moment it was saved at: {@link rankedFiles} knows nothing later. */
  #resumedSequence = 0;
  readonly #saver: Saver;
  readonly #source: CheckpointSource;
  readonly #waits: boolean;
  readonly #ranks: Ranks;
  readonly #facts: SharedFacts;
  #round: Submitted[] | undefined;
  #cost: CheckpointCost = NO_COST;
  /** Of the newest round, whatever has not failed since. */
  readonly #fullSaves = new Set<string>();
  /** Of hooks that saved nothing: they go with the next save, or with the end. */
  #unwritten: JournalLine[] = [];

  constructor(
    source: CheckpointSource,
    storage: Storage,
    saver: Saver,
    waits: boolean,
    ranks: Ranks = new Ranks(),
  ) {
    this.#source = source;
    this.storage = storage;
    this.#saver = saver;
    this.#waits = waits;
    this.#ranks = ranks;
    this.#facts = new SharedFacts(ranks, (happening) => this.#apply(happening));
  }

  /** Whether this process is the one that writes: rank 0. */
  get isWriter(): boolean {
    return this.#ranks.isZero;
  }

  /** False during the sanity check, `fastDevRun` and outside `fit`. */
  get maySave(): boolean {
    return this.#source.maySave();
  }

  /** Once {@link flush} has resolved: whether training can go on from what the newest round has saved. */
  get hasFullSave(): boolean {
    return this.#fullSaves.size > 0;
  }

  /** This run goes on from a checkpoint. */
  resume({ path, document }: Pick<CheckpointReader, 'path' | 'document'>): void {
    this.#resumedFrom = path;
    this.#resumedSequence = orderOf(document).sequence;
  }

  /** Saves that are not durable yet; 0 on all ranks but rank 0. */
  get pendingSaves(): number {
    return this.#saver.pendingSaves;
  }

  /** Whether a name is taken once every save so far is done: rank 0's answer, for which every rank asks. */
  async isTaken(path: string): Promise<boolean> {
    return await this.#facts.ask(async () => {
      const isPlanned = this.#round?.some(({ draft }) =>
        draft.names.some((name) => name.path === path),
      );
      return isPlanned === true || (await this.#saver.isTaken(path));
    });
  }

  /** Whether a path is inside a folder, symbolic links on the way to it included. */
  async isInside(folder: string, path: string): Promise<boolean> {
    return await this.#facts.ask(() => isContained(this.storage, folder, path));
  }

  /** What the files of this run's callbacks are known by. */
  get stateKeys(): ReadonlySet<string> {
    return new Set(this.#source.owners.map((owner) => this.#source.keyOf(owner)));
  }

  /** The ranked files that a callback had when the checkpoint resumed from was saved, and that are still there. */
  async rankedFiles(owner: CheckpointOwner): Promise<readonly RankedFile[]> {
    const { dirpath: path, folderDepth: depth, FILE_EXTENSION } = owner;
    const files = await this.#facts.ask(async () => {
      const found = await rankedFiles(
        this.storage,
        { path, depth, extensions: [FILE_EXTENSION] },
        this.#source.keyOf(owner),
        this.#resumedSequence,
      );
      return found.map((file) => ({ ...file }));
    });
    return files;
  }

  /** The present hook, as the rules see it, without the metrics. By rank 0's clock. */
  async moment(hook: CheckpointHook, elapsedMs: number): Promise<Omit<CheckpointEvent, 'metrics'>> {
    return this.#source.moment(hook, await this.#facts.ask(() => elapsedMs));
  }

  /** Where a callback saves that was given this folder, or none: rank 0's answer. */
  async folderOf(given: string): Promise<string> {
    return await this.#facts.ask(() => given || this.defaultFolder);
  }

  /** Rank 0's metrics, as the rules see them: reads those that were not read yet. */
  async readings(): Promise<CheckpointEvent['metrics']> {
    if (!this.#ranks.areMany) return await this.#source.readings();
    const entries = await this.#facts.ask(async () => {
      const readings = await this.#source.readings();
      return [...readings].map(([name, reading]) => [name, { ...reading }] as const);
    });
    return new Map(entries);
  }

  /** What the checkpoints of this run have cost so far. */
  get cost(): CheckpointCost {
    return this.#cost;
  }

  /** The end of training: as {@link flush}, all loggers have been told, and the wait counts as a cost. */
  async finish(): Promise<void> {
    const began = performance.now();
    await this.#facts.round(async () => {
      this.#note();
      if (this.isWriter) await this.#saver.finish();
    });
    const waitedMs = this.#cost.waitedMs + performance.now() - began;
    this.#cost = { ...this.#cost, waitedMs };
  }

  /**
   * Resolves when every save so far is durable, and the journal written; on all ranks together, but for what rank 0 alone
   * runs.
   */
  async flush(): Promise<void> {
    await this.#facts.round(async () => {
      this.#note();
      if (this.isWriter) await this.#saver.flush();
    });
  }

  /** Nothing could be decided, since the storage did not answer. Throws that, unless it is taken as a failed save. */
  notDecided(error: unknown): void {
    const { saveFailed } = this.#source;
    if (saveFailed === undefined || !isStorageFault(error)) throw error;
    saveFailed(error);
  }

  /** Carries out a decision: with the others of this hook, or by itself outside a hook. */
  async submit(owner: CheckpointOwner, decision: Decision): Promise<void> {
    const submitted = { owner, decision, draft: this.#draft(owner, decision) };
    if (this.#round === undefined) await this.#commit([submitted]);
    else this.#round.push(submitted);
  }

  /** One hook: all callbacks decide, on every rank alike, then everything is saved together. */
  async round(decide: () => Promise<void>): Promise<void> {
    this.#refuseApart();
    if (this.#round !== undefined) {
      await decide();
      return;
    }
    const submitted: Submitted[] = [];
    this.#round = submitted;
    try {
      await this.#facts.round(
        async () => {
          this.#saver.throwIfFailed();
          await decide();
        },
        () => submitted.map(({ draft }) => [pathsOf(draft.names), pathsOf(draft.removals)]),
      );
    } catch (error) {
      for (const { owner, decision, draft } of submitted) {
        for (const [i, name] of draft.names.entries()) {
          owner.onSaveFailed(asPlanned(decision.saves[i] as PlannedSave, name));
        }
      }
      throw error;
    } finally {
      this.#round = undefined;
    }
    await this.#commit(submitted);
  }

  /** Names in the state that was restored, the same on every rank, which another run has taken since. */
  giveUp(names: readonly Pick<StoredName, 'path' | 'role' | 'stateKey'>[]): void {
    for (const { path, role, stateKey } of names) {
      const owner = this.#source.owners.findIndex((one) => this.#source.keyOf(one) === stateKey);
      if (owner < 0 || role === 'user') continue;
      const save = { path, role, replaces: false, displaces: [] };
      this.#apply({ kind: 'saveFailed', owner, save });
    }
  }

  /** Tells the callbacks, and what was decided in this hook before it happened. */
  #apply(happening: Happening): void {
    const { owners } = this.#source;
    if (happening.kind === 'saveFailed') {
      const { owner, save } = happening;
      this.#fullSaves.delete(save.path);
      owners[owner]?.onSaveFailed(save);
      this.#amend((draft) => withoutNames(draft, [save]));
    } else {
      const { from, to } = happening;
      if (this.#fullSaves.delete(from)) this.#fullSaves.add(to);
      for (const owner of owners) owner.renamePath(from, to);
      this.#amend((draft) => renamed(draft, from, to));
    }
  }

  #amend(change: (draft: SaveJob) => SaveJob): void {
    for (const submitted of this.#round ?? []) submitted.draft = change(submitted.draft);
  }

  #draft(owner: CheckpointOwner, decision: Decision): SaveJob {
    const { saveWeightsOnly: weightsOnly } = owner;
    const stateKey = this.#source.keyOf(owner);
    const names = decision.saves.map((save): SaveName => {
      const onFailed = (name: SaveName): void =>
        this.#facts.happened({
          kind: 'saveFailed',
          owner: this.#source.owners.indexOf(owner),
          save: asPlanned(save, name),
        });
      return { ...save, weightsOnly, stateKey, onFailed };
    });
    const { removals } = decision;
    return { names, removals, journal: this.#journal(owner, decision), isAwaited: this.#waits };
  }

  async #commit(submitted: readonly Submitted[]): Promise<void> {
    const names = dedupe(submitted.flatMap(({ draft }) => draft.names));
    this.#fullSaves.clear();
    for (const { path, weightsOnly } of names) if (!weightsOnly) this.#fullSaves.add(path);
    const isWanted = (path: string): boolean =>
      path === this.#resumedFrom ||
      names.some((name) => name.path === path) ||
      this.#source.owners.some((owner) => owner.keeps(path));
    const removals = submitted
      .flatMap(({ draft }) => draft.removals)
      .filter(({ path }) => !isWanted(path));
    const isDecided = ({ line }: JournalLine): boolean =>
      line.kind !== 'removed' || removals.some(({ path }) => path === line.path);
    this.#unwritten.push(...submitted.flatMap(({ draft }) => draft.journal.filter(isDecided)));
    if (names.length > 0 || removals.length > 0) {
      const owners = new Set(
        submitted.filter(({ decision }) => decision.saves.length > 0).map(({ owner }) => owner),
      );
      const job: SaveJob = {
        names,
        removals,
        journal: this.#unwritten.splice(0),
        isAwaited: this.#waits,
        ...(this.#source.saveFailed && { onFailed: this.#source.saveFailed }),
        onRenamed: (from, to) => this.#facts.happened({ kind: 'renamed', from, to }),
        onDurable: (report) => {
          this.#cost = withSave(this.#cost, report);
          for (const owner of owners) owner.onSaved(report);
        },
        announce: async () => {
          for (const owner of owners) await this.#source.announce(owner);
        },
      };
      await this.#carryOut(job);
    } else if (this.#unwritten.length >= MOST_UNWRITTEN) {
      this.#note();
    }
    for (const { decision } of submitted) {
      if (decision.error !== undefined) throw this.#ranks.share(decision.error);
    }
  }

  #refuseApart(): void {
    if (!this.#ranks.isApart) return;
    throw new MisconfigurationError(
      'saveCheckpoint is called in what rank 0 alone runs, such as a method of a logger, but a save needs all ranks: ' +
        'call it in a hook of the module or of a callback.',
    );
  }

  /** Every rank takes part in capturing, since hooks may; only rank 0 writes. All fail, or none. */
  async #carryOut(job: SaveJob): Promise<void> {
    await this.#ranks.together(async () => {
      if (this.isWriter) await this.#saver.submit(job, () => this.#source.capture());
      else (await this.#source.capture()).release();
    });
  }

  /** What hooks that saved nothing have noted. */
  #note(): void {
    const lines = this.#unwritten.splice(0);
    if (this.isWriter) this.#saver.note(lines);
  }

  #journal(owner: CheckpointOwner, { notes }: Decision): JournalLine[] {
    const { epoch, globalStep } = this.#source.position();
    const { dirpath: folder } = owner;
    const callback = this.#source.keyOf(owner);
    return notes.map((note: Note) => ({
      folder,
      line: { epoch, globalStep, callback, ...note } satisfies JsonObject,
    }));
  }

  /** Saves one file outside every callback's bookkeeping. */
  async saveFile(path: string, weightsOnly: boolean): Promise<void> {
    this.#refuseApart();
    const job: SaveJob = {
      names: [{ path, role: 'user', replaces: true, weightsOnly }],
      removals: [],
      journal: [],
      isAwaited: true,
    };
    await this.#carryOut(job);
  }
}

function pathsOf(files: readonly { readonly path: string }[]): readonly string[] {
  return files.map(({ path }) => path);
}

/** A planned save, with the names that its files have by now. */
function asPlanned(save: PlannedSave, { path, displaces = [] }: SaveName): PlannedSave {
  return { ...save, path, displaces };
}

/** By its code: another rank's error has lost its class. */
function isStorageFault(error: unknown): error is HighwaterError {
  return error instanceof HighwaterError && error.code.startsWith('STORAGE_');
}

/** Two callbacks may give one name (counter off): the later decides what it holds. */
function dedupe(names: readonly SaveName[]): readonly SaveName[] {
  return [...new Map(names.map((name) => [name.path, name])).values()];
}
