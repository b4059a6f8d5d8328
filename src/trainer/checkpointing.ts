import type { Decision, Note } from '../checkpoint/decide.ts';
import type { CheckpointEvent, CheckpointHook } from '../checkpoint/event.ts';
import type { JsonObject } from '../format/json.ts';
import type { JournalLine, SaveName } from '../saving/save-job.ts';
import type { Saver } from '../saving/saver.ts';
import type { Snapshot } from '../saving/snapshot.ts';
import type { Storage } from '../storages/storage.ts';

/** A callback that saves, as the Trainer sees it. */
export interface CheckpointOwner {
  readonly dirpath: string;
  /** How many folders deep its names go below `dirpath`. */
  readonly folderDepth: number;
  readonly stateKey: string;
  readonly saveWeightsOnly: boolean;
  readonly keptPaths: ReadonlySet<string>;
  renamePath(from: string, to: string): void;
}

/** What the Trainer does for {@link Checkpointing}. */
export interface CheckpointSource {
  maySave(): boolean;
  readonly owners: readonly CheckpointOwner[];
  moment(hook: CheckpointHook, elapsedMs: number): Omit<CheckpointEvent, 'metrics'>;
  readings(): Promise<CheckpointEvent['metrics']>;
  /** Takes hold of everything a checkpoint holds, now. */
  capture(): Promise<Snapshot>;
  announce(owner: CheckpointOwner): Promise<void>;
  position(): { readonly epoch: number; readonly globalStep: number };
}

interface Submitted {
  readonly owner: CheckpointOwner;
  readonly decision: Decision;
}

/**
 * Between the callbacks and the saver: collects what all callbacks decide in one hook, takes one snapshot,
 * and hands over one job. Callbacks reach it as `trainer.checkpointing`.
 */
export class Checkpointing {
  readonly storage: Storage;
  /** Where a callback without `dirpath` saves. */
  defaultFolder = '';
  /** The file this run was resumed from: never removed. */
  resumedFrom: string | undefined;
  readonly #saver: Saver;
  readonly #source: CheckpointSource;
  readonly #waits: boolean;
  #round: Submitted[] | undefined;

  constructor(source: CheckpointSource, storage: Storage, saver: Saver, waits: boolean) {
    this.#source = source;
    this.storage = storage;
    this.#saver = saver;
    this.#waits = waits;
  }

  /** False during the sanity check, `fastDevRun` and outside `fit`. */
  get maySave(): boolean {
    return this.#source.maySave();
  }

  /** Saves that are not durable yet. */
  get pendingSaves(): number {
    return this.#saver.pendingSaves;
  }

  /** Whether a name is taken once every save so far is done. */
  async isTaken(path: string): Promise<boolean> {
    const isPlanned = this.#round?.some(({ decision }) =>
      decision.saves.some((save) => save.path === path),
    );
    return isPlanned === true || (await this.#saver.isTaken(path));
  }

  /** The present hook, as the rules see it, without the metrics. */
  moment(hook: CheckpointHook, elapsedMs: number): Omit<CheckpointEvent, 'metrics'> {
    return this.#source.moment(hook, elapsedMs);
  }

  /** The metrics, as the rules see them: reads those that were not read yet. */
  async readings(): Promise<CheckpointEvent['metrics']> {
    return await this.#source.readings();
  }

  /** Resolves when every save so far is durable. */
  async flush(): Promise<void> {
    await this.#saver.flush();
  }

  /** Carries out a decision: with the others of this hook, or by itself outside a hook. */
  async submit(owner: CheckpointOwner, decision: Decision): Promise<void> {
    if (this.#round === undefined) await this.#commit([{ owner, decision }]);
    else this.#round.push({ owner, decision });
  }

  /** One hook: all callbacks decide, then everything is saved together. */
  async round(decide: () => Promise<void>): Promise<void> {
    this.#saver.throwIfFailed();
    this.#round = [];
    let submitted: readonly Submitted[];
    try {
      await decide();
    } finally {
      submitted = this.#round;
      this.#round = undefined;
    }
    await this.#commit(submitted);
  }

  async #commit(submitted: readonly Submitted[]): Promise<void> {
    const names = dedupe(
      submitted.flatMap(({ owner, decision }) =>
        decision.saves.map(({ path, role, replaces, linkTo }): SaveName => {
          const link = linkTo === undefined ? {} : { linkTo };
          const { stateKey, saveWeightsOnly: weightsOnly } = owner;
          return { path, role, replaces, weightsOnly, stateKey, ...link };
        }),
      ),
    );
    const kept = new Set(names.map(({ path }) => path));
    for (const owner of this.#source.owners) for (const path of owner.keptPaths) kept.add(path);
    const removals = submitted
      .flatMap(({ decision }) => decision.removals)
      .filter(({ path }) => !kept.has(path) && path !== this.resumedFrom);
    if (names.length > 0 || removals.length > 0) {
      const owners = new Set(
        submitted.filter(({ decision }) => decision.saves.length > 0).map(({ owner }) => owner),
      );
      await this.#saver.submit({
        snapshot: await this.#source.capture(),
        names,
        removals,
        journal: this.#journal(submitted),
        onRenamed: (from, to) => {
          for (const owner of this.#source.owners) owner.renamePath(from, to);
        },
        onDurable: async () => {
          for (const owner of owners) await this.#source.announce(owner);
        },
      });
      if (this.#waits) await this.#saver.flush();
    }
    for (const { decision } of submitted) if (decision.error !== undefined) throw decision.error;
  }

  #journal(submitted: readonly Submitted[]): readonly JournalLine[] {
    const { epoch, globalStep } = this.#source.position();
    return submitted.flatMap(({ owner, decision }) =>
      decision.notes.map((note: Note) => ({
        folder: owner.dirpath,
        line: { epoch, globalStep, callback: owner.stateKey, ...note } satisfies JsonObject,
      })),
    );
  }

  /** Saves one file outside every callback's bookkeeping. */
  async saveFile(path: string, weightsOnly: boolean): Promise<void> {
    await this.#saver.submit({
      snapshot: await this.#source.capture(),
      names: [{ path, role: 'user', replaces: true, weightsOnly }],
      removals: [],
      journal: [],
    });
    await this.#saver.flush();
  }
}

/** Two callbacks may give one name (counter off): the later decides what it holds. */
function dedupe(names: readonly SaveName[]): readonly SaveName[] {
  return [...new Map(names.map((name) => [name.path, name])).values()];
}
