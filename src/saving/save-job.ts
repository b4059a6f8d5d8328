import type { KeptFile, PlannedRemoval, SaveRole } from '../checkpoint/decide.ts';
import type { HighwaterError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { Snapshot } from './snapshot.ts';

/** One name that a content gets. */
export interface SaveName {
  readonly path: string;
  readonly role: SaveRole | 'user';
  /** May replace what has this name. */
  readonly replaces: boolean;
  /** A symbolic link to this path, instead of the bytes. */
  readonly linkTo?: string;
  /** Weights and metadata only. */
  readonly weightsOnly: boolean;
  /** What it was ranked by; absent when it was not ranked. */
  readonly score?: number;
  /** Whose file it is: the callback's state key; undefined for `trainer.saveCheckpoint(path)`. */
  readonly stateKey?: string;
  /** What it was to displace, and does not when it fails. */
  readonly displaces?: readonly KeptFile[];
  /** Called when it could not be made; what has this path is as it was. */
  readonly onFailed?: (name: SaveName) => void;
}

/**
 * All that one hook decided to do, in the order in which it is done: names (full ones before weights-only
 * ones, so that a run cut short can go on from what is there), then removals.
 */
export interface SaveJob {
  readonly names: readonly SaveName[];
  readonly removals: readonly PlannedRemoval[];
  /** Lines for the journal, and the folder it lies in. */
  readonly journal: readonly JournalLine[];
  /** Whether the hook waits until it is durable. */
  readonly isAwaited: boolean;
  /** Called when all of it is durable. */
  readonly onDurable?: (report: SaveReport) => void;
  /**
   * Called after that, one job's after another's, for user code that may take long: no save waits for it, and it
   * may wait for saves. Rejects with a HighwaterError.
   */
  readonly announce?: () => Promise<void>;
  /** Takes the error of a save that failed. Absent: the next call of the saver throws it. */
  readonly onFailed?: (error: HighwaterError) => void;
  /** Called when another process took a name meanwhile and the next version is used. */
  readonly onRenamed?: (from: string, to: string) => void;
}

/** One line of `.highwater/history.jsonl` in `folder`: what was noted (a `Note`), and where training stood. */
export interface JournalLine {
  readonly folder: string;
  readonly line: JsonObject;
}

/** What a finished save cost. Times are in milliseconds. */
export interface SaveReport {
  /** The names it has got. */
  readonly paths: readonly string[];
  /** Bytes written to storage: each content counts once, however many names it has. */
  readonly bytes: number;
  /** Taking hold of the state, in the hook: O(tensors), no byte is copied. */
  readonly captureMs: number;
  /** From the start of writing until durable, behind training. */
  readonly writeMs: number;
  /** How long the hook waited: for earlier saves, and with `asyncSave: false` for this one. */
  readonly waitedMs: number;
}

/** The names that hold the same bytes, full contents first. */
export function contentsOf(names: readonly SaveName[]): readonly (readonly SaveName[])[] {
  const full = names.filter(({ weightsOnly }) => !weightsOnly);
  const weightsOnly = names.filter((name) => name.weightsOnly);
  return [full, weightsOnly].filter((content) => content.length > 0);
}

/** The document of a job, with what a recovery needs to finish it: its names and removals. */
export function documentOf(job: SaveJob, { document }: Snapshot, weightsOnly: boolean): JsonObject {
  const save: JsonObject = {
    names: job.names.map(({ path, role, linkTo, score, weightsOnly: isWeightsOnly, stateKey }) => ({
      path,
      role,
      score,
      linkTo,
      weightsOnly: isWeightsOnly,
      stateKey,
    })),
    removals: job.removals.map(({ path }) => path),
  };
  if (!weightsOnly) return { ...document, kind: 'full', save };
  const { epoch, globalStep, version, hyperParameters, sequence, engine } = document;
  return {
    ...{ epoch, globalStep, version, kind: 'weights', sequence, hyperParameters, engine },
    save,
  };
}

/** The job with one name spelt otherwise, wherever it is mentioned. */
export function renamed(job: SaveJob, from: string, to: string): SaveJob {
  const spell = (path: string): string => (path === from ? to : path);
  return {
    ...job,
    names: job.names.map((name) => ({
      ...name,
      path: spell(name.path),
      ...(name.linkTo === undefined ? {} : { linkTo: spell(name.linkTo) }),
      ...(name.displaces && {
        displaces: name.displaces.map((file) => ({ ...file, path: spell(file.path) })),
      }),
    })),
    removals: job.removals.map(({ path, reason }) => ({ path: spell(path), reason })),
    journal: job.journal.map(({ folder, line }) => ({
      folder,
      line: line.path === from ? { ...line, path: to } : line,
    })),
  };
}

/**
 * The job when some names of an earlier one could not be made: what those were to displace is still there, so it
 * goes, or is gone back to, in their place; and what they would have made its own it may not replace.
 */
export function withoutNames(
  job: SaveJob,
  failed: readonly Pick<SaveName, 'path' | 'replaces' | 'displaces'>[],
): SaveJob {
  const instead = <T extends { readonly path: string }>(files: readonly T[]): T[] =>
    files.flatMap((file) => {
      const name = failed.find(({ path }) => path === file.path);
      return name?.displaces?.map((displaced) => ({ ...file, ...displaced })) ?? [file];
    });
  const isOwn = ({ path, replaces }: SaveName): boolean =>
    replaces && !failed.some((name) => name.path === path && !name.replaces);
  return {
    ...job,
    names: job.names.map((name) => ({
      ...name,
      replaces: isOwn(name),
      ...(name.displaces && { displaces: instead(name.displaces) }),
    })),
    removals: instead(job.removals),
  };
}

/** The snapshot with one name spelt otherwise, wherever its document mentions it. */
export function respelled(snapshot: Snapshot, from: string, to: string): Snapshot {
  return { ...snapshot, document: respell(snapshot.document, from, to) as JsonObject };
}

function respell(value: JsonValue | undefined, from: string, to: string): JsonValue | undefined {
  if (value === from) return to;
  if (Array.isArray(value)) {
    return value.map((inner: JsonValue) => respell(inner, from, to) as JsonValue);
  }
  if (typeof value !== 'object' || value === null || !isPlain(value)) return value;
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, inner]) => [key, respell(inner, from, to)]),
  );
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
