import type { PlannedRemoval } from '../checkpoint/decide.ts';
import { nextVersion } from '../checkpoint/file-path.ts';
import { HighwaterError, StorageError } from '../errors.ts';
import { nextMacrotask } from '../event-loop.ts';
import type { Storage } from '../storages/storage.ts';
import { type Checksum, fastestChecksum } from './checksum.ts';
import { appendJournal } from './journal.ts';
import { publishContent } from './publish.ts';
import {
  contentsOf,
  type JournalLine,
  renamed,
  respelled,
  type SaveJob,
  type SaveName,
  type SaveReport,
  withoutNames,
} from './save-job.ts';
import type { Snapshot } from './snapshot.ts';

/** How many versions are tried when other processes keep taking names. */
const MAX_RENAMES = 1_000;

/** A job on its way, and what it has published so far: that is its own, and may be written again. */
interface Pending {
  job: SaveJob;
  /** Undefined until the job has come near enough to the front of the queue. */
  snapshot: Snapshot | undefined;
  /** Files that got other names while the state was being captured: a part of it may hold the old ones. */
  readonly respellings: (readonly [from: string, to: string])[];
  readonly published: Set<string>;
  captureMs: number;
  waitedMs: number;
}

export interface SaverOptions {
  readonly storage: Storage;
  /** Saves that may wait, with their snapshots, while one is written. Default 1. */
  readonly maxWaiting?: number;
}

/**
 * The one place that carries out decisions. Jobs run one after the other, behind training; each does its
 * names, then its removals, so that nothing goes before its successor is durable.
 */
export class Saver {
  readonly #storage: Storage;
  readonly #maxWaiting: number;
  readonly #planned = new Map<string, { isTaken: boolean; by: Pending }>();
  readonly #queue: Pending[] = [];
  readonly #roomWaiters: (() => void)[] = [];
  /** Removals of jobs that failed before it was their turn: the next job does them. */
  #undone: readonly PlannedRemoval[] = [];
  #running: Promise<void> | undefined;
  /** What was decided is written down beside the saves: it holds up none of them. */
  #journal: Promise<void> = Promise.resolve();
  /** Nor does user code that is told of them. */
  #announcements: Promise<void> = Promise.resolve();
  #failure: HighwaterError | undefined;
  #checksum: Checksum | undefined;

  constructor(options: SaverOptions) {
    this.#storage = options.storage;
    this.#maxWaiting = options.maxWaiting ?? 1;
  }

  /** Saves that are not durable yet. */
  get pendingSaves(): number {
    return this.#queue.length;
  }

  /** Whether a name is taken once every submitted job is done. */
  async isTaken(path: string): Promise<boolean> {
    return this.#planned.get(path)?.isTaken ?? (await this.#storage.stat(path)) !== undefined;
  }

  /**
   * Hands over a job: waits until there is room for its snapshot, takes it, and returns. The job is done when
   * {@link flush} resolves. At most `1 + maxWaiting` snapshots are held at a time; each is released in any case.
   *
   * @throws what `capture` throws; HighwaterError (`SAVE_FAILED`) when an earlier save has failed and nobody
   * was told yet.
   */
  async submit(job: SaveJob, capture: () => Promise<Snapshot>): Promise<void> {
    const began = performance.now();
    const pending: Pending = {
      job,
      snapshot: undefined,
      respellings: [],
      published: new Set(),
      captureMs: 0,
      waitedMs: 0,
    };
    for (const { path } of job.names) this.#planned.set(path, { isTaken: true, by: pending });
    for (const { path } of job.removals) this.#planned.set(path, { isTaken: false, by: pending });
    this.#queue.push(pending);
    while (this.#queue.indexOf(pending) > this.#maxWaiting) {
      await new Promise<void>((resolve) => this.#roomWaiters.push(resolve));
    }
    const hasRoom = performance.now();
    try {
      pending.respellings.length = 0;
      const captured = await capture();
      pending.snapshot = pending.respellings.reduce(
        (snapshot, [from, to]) => respelled(snapshot, from, to),
        captured,
      );
    } catch (error) {
      this.#drop(pending);
      this.#record(pending);
      this.#tellOf(pending.job.names, pending.job);
      this.#running ??= this.#run();
      throw error;
    }
    pending.waitedMs = hasRoom - began;
    pending.captureMs = performance.now() - hasRoom;
    this.#running ??= this.#run();
    if (job.isAwaited) await this.#running;
    this.throwIfFailed();
  }

  /** Lines for the journal that belong to no save; they stand behind those of the saves that wait. */
  note(lines: readonly JournalLine[]): void {
    const last = this.#queue.at(-1);
    if (last === undefined) this.#write(lines);
    else last.job = { ...last.job, journal: [...last.job.journal, ...lines] };
  }

  /**
   * Resolves when every save so far is durable, and the journal written.
   *
   * @throws HighwaterError (`SAVE_FAILED`) with the path and the cause, once for each failure.
   */
  async flush(): Promise<void> {
    await this.#running;
    await this.#journal;
    this.throwIfFailed();
  }

  /**
   * As {@link flush}, and waits until everybody was told of every save.
   *
   * @throws what {@link flush} does, or an announcement's error.
   */
  async finish(): Promise<void> {
    await this.flush();
    await this.#announcements;
    this.throwIfFailed();
  }

  /** Throws the failure of an earlier save, once. */
  throwIfFailed(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  async #run(): Promise<void> {
    // The hook that saves goes on first: even laying out a file is work behind training.
    await nextMacrotask();
    for (;;) {
      const [pending] = this.#queue;
      if (pending?.snapshot === undefined) break;
      try {
        await this.#perform(pending);
      } catch (error) {
        this.#fail(pending, error);
      }
      const { snapshot, job } = pending;
      this.#guard('Letting go of the state that was saved as', job, () => snapshot.release());
      this.#drop(pending);
    }
    this.#running = undefined;
  }

  /** What the saver calls may throw: that is the next caller's error, and the writer goes on. */
  #guard(doing: string, job: SaveJob, call: () => void): void {
    try {
      call();
    } catch (cause) {
      this.#failure ??= failedAt(doing, job, cause);
    }
  }

  #drop(pending: Pending): void {
    this.#queue.splice(this.#queue.indexOf(pending), 1);
    for (const { path } of [...pending.job.names, ...pending.job.removals]) {
      if (this.#planned.get(path)?.by === pending) this.#planned.delete(path);
    }
    for (const resolve of this.#roomWaiters.splice(0)) resolve();
  }

  async #perform(pending: Pending): Promise<void> {
    const began = performance.now();
    this.#checksum ??= await fastestChecksum();
    const bytes = await this.#publish(pending, this.#checksum);
    // It is durable: from here on nothing makes it a failed save.
    const { job } = pending;
    const { names, isAwaited, onDurable, announce } = job;
    const { captureMs, waitedMs } = pending;
    const writeMs = performance.now() - began;
    const removed = await this.#remove(job);
    this.#record(pending, removed);
    const report: SaveReport = {
      paths: names.map(({ path }) => path),
      bytes,
      captureMs,
      writeMs,
      waitedMs: isAwaited ? waitedMs + writeMs : waitedMs,
    };
    this.#guard('Reporting the save of', job, () => onDurable?.(report));
    if (announce === undefined) return;
    this.#announcements = this.#announcements
      .then(announce)
      .catch((error: HighwaterError) => this.#report(job, error));
  }

  /**
   * Each is tried once, so that a file which cannot be removed does not stand in the way of every save to come.
   * Returns those that are gone.
   */
  async #remove(job: SaveJob): Promise<ReadonlySet<string>> {
    const isNamed = (path: string): boolean => job.names.some((name) => name.path === path);
    const removals = [...job.removals, ...this.#undone.filter(({ path }) => !isNamed(path))];
    this.#undone = [];
    const removed = new Set<string>();
    const failed: { readonly path: string; readonly cause: unknown }[] = [];
    for (const { path } of removals) {
      try {
        await this.#storage.remove(path);
        removed.add(path);
      } catch (cause) {
        failed.push({ path, cause });
      }
    }
    if (failed.length > 0) this.#report(job, notRemoved(job, failed));
    return removed;
  }

  /** Into the journal goes of what was decided only what has come true. */
  #record({ job, published }: Pending, removed: ReadonlySet<string> = new Set()): void {
    const isTrue = ({ line: { kind, path } }: JournalLine): boolean =>
      kind === 'saved' ? published.has(`${path}`) : kind !== 'removed' || removed.has(`${path}`);
    this.#write(job.journal.filter(isTrue));
  }

  #write(lines: readonly JournalLine[]): void {
    this.#journal = this.#journal.then(() => appendJournal(this.#storage, lines));
  }

  /** Tells whoever planned it; what waits goes on from what is there. */
  #fail(pending: Pending, cause: unknown): void {
    const { job, published } = pending;
    const failed = job.names.filter(({ path }) => !published.has(path));
    const kept = new Set(failed.flatMap(({ displaces = [] }) => displaces.map(({ path }) => path)));
    this.#undone = [...this.#undone, ...job.removals.filter(({ path }) => !kept.has(path))];
    for (const later of this.#queue) {
      if (later.job !== job) later.job = withoutNames(later.job, failed);
    }
    this.#record(pending);
    this.#tellOf(failed, job);
    this.#report(job, saveFailed(job, cause));
  }

  #tellOf(failed: readonly SaveName[], job: SaveJob): void {
    this.#guard('Reporting the failed save of', job, () => {
      for (const name of failed) name.onFailed?.(name);
    });
  }

  #report(job: SaveJob, error: HighwaterError): void {
    if (job.onFailed === undefined) this.#failure ??= error;
    else this.#guard('Reporting the failed save of', job, () => job.onFailed?.(error));
  }

  /** Publishes every name; one that another process took meanwhile gets the next version. */
  async #publish(pending: Pending, checksum: Checksum): Promise<number> {
    for (let renames = 0; ; renames++) {
      try {
        let bytes = 0;
        const snapshot = pending.snapshot as Snapshot;
        for (const names of contentsOf(pending.job.names)) {
          const publication = { job: pending.job, snapshot, published: pending.published };
          bytes += await publishContent(this.#storage, publication, names, checksum);
        }
        return bytes;
      } catch (error) {
        const isConflict = error instanceof StorageError && error.kind === 'Conflict';
        if (!isConflict || renames >= MAX_RENAMES) throw error;
        await this.#rename(pending, error.path);
      }
    }
  }

  async #rename(pending: Pending, from: string): Promise<void> {
    let to = nextVersion(from);
    while (await this.isTaken(to)) to = nextVersion(to);
    pending.job.onRenamed?.(from, to);
    this.#planned.delete(from);
    this.#planned.set(to, { isTaken: true, by: pending });
    for (const affected of this.#queue) {
      affected.job = renamed(affected.job, from, to);
      if (affected.snapshot === undefined) affected.respellings.push([from, to]);
      else affected.snapshot = respelled(affected.snapshot, from, to);
    }
  }
}

function saveFailed(job: SaveJob, cause: unknown): HighwaterError {
  const rest = 'Older checkpoints are untouched, and training state is not harmed.';
  return failedAt('Saving', job, cause, rest);
}

function failedAt(doing: string, job: SaveJob, cause: unknown, rest = ''): HighwaterError {
  const path = job.names[0]?.path ?? '';
  const why = cause instanceof Error ? cause.message : String(cause);
  return new HighwaterError('SAVE_FAILED', `${doing} '${path}' failed: ${why} ${rest}`.trimEnd(), {
    details: { path, paths: job.names.map((name) => name.path) },
    cause,
  });
}

function notRemoved(
  { names }: SaveJob,
  failed: readonly { readonly path: string; readonly cause: unknown }[],
): HighwaterError {
  const quoted = (paths: readonly string[]): string => paths.map((path) => `'${path}'`).join(', ');
  const paths = names.map(({ path }) => path);
  const left = failed.map(({ path }) => path);
  const cause = failed[0]?.cause;
  const why = cause instanceof Error ? cause.message : String(cause);
  const saved = names.length === 0 ? '' : `${quoted(paths)} is saved, but `;
  return new HighwaterError(
    'SAVE_FAILED',
    `${saved}${quoted(left)} could not be removed, and is left over: ${why}`,
    { details: { path: left[0], paths, left }, cause },
  );
}
