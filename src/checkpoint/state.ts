import { CheckpointFileError } from '../errors.ts';
import { KeptModels } from './kept-models.ts';
import { type Mode, worstValue } from './monitor.ts';
import type { ResolvedOptions } from './options.ts';

/** All that a ModelCheckpoint remembers. Immutable: every decision makes the next one. */
export interface CheckpointState {
  /** Folder of the files, absolute; `''` until it is resolved. */
  readonly dirpath: string;
  /** The best file (without a monitor: the newest); `''` when there is none. */
  readonly bestModelPath: string;
  readonly bestModelScore: number | undefined;
  /** Path → score, in the order they were saved. */
  readonly bestKModels: KeptModels;
  /** The worst kept, once k are kept; else `''`. */
  readonly kthBestModelPath: string;
  /** Its score, else the worst possible value. */
  readonly kthValue: number;
  readonly lastModelPath: string;
  /** The score last saved; a rejection does not touch it. */
  readonly currentScore: number | undefined;
  /** The `globalStep` of the newest top-k save, and its path; 0 and `''` before the first. */
  readonly topKSavedAtStep: number;
  readonly topKSavedPath: string;
  /** The `globalStep` of the newest last save; 0 before the first. */
  readonly lastSavedAtStep: number;
  /** A top-k save was due while the monitor was missing or stale, and waits for a fresh value. */
  readonly isTopKPending: boolean;
  /** Training time since the interval trigger was last due, in milliseconds. */
  readonly timerMs: number;
}

/** The state of a callback that has saved nothing. */
export function initialState(mode: Mode, dirpath: string): CheckpointState {
  return {
    dirpath,
    bestModelPath: '',
    bestModelScore: undefined,
    bestKModels: KeptModels.none,
    kthBestModelPath: '',
    kthValue: worstValue(mode),
    lastModelPath: '',
    currentScore: undefined,
    topKSavedAtStep: 0,
    topKSavedPath: '',
    lastSavedAtStep: 0,
    isTopKPending: false,
    timerMs: 0,
  };
}

/** Every file this callback counts as its own and still wants. */
export function keptPaths(state: CheckpointState): ReadonlySet<string> {
  const kept = new Set<string>();
  for (const [path] of state.bestKModels) kept.add(path);
  if (state.bestModelPath !== '') kept.add(state.bestModelPath);
  if (state.lastModelPath !== '') kept.add(state.lastModelPath);
  return kept;
}

/** Whether a file is among the {@link keptPaths}, without listing them. */
export function keeps(state: CheckpointState, path: string): boolean {
  return (
    path === state.bestModelPath || path === state.lastModelPath || state.bestKModels.has(path)
  );
}

/** What tells callbacks apart, as the constructor normalised it. */
export type MonitorKey = Pick<
  ResolvedOptions,
  | 'monitor'
  | 'mode'
  | 'everyNTrainSteps'
  | 'everyNEpochs'
  | 'trainTimeIntervalMs'
  | 'saveOnTrainEpochEnd'
>;

/**
 * Identifies a callback's state in a checkpoint: its class and what makes it different from its siblings,
 * as the constructor normalised it. Callbacks that share a key are told apart by their order (`#2`, `#3`).
 */
export function stateKeyOf(options: MonitorKey): string {
  const key = {
    monitor: options.monitor ?? null,
    mode: options.mode,
    everyNTrainSteps: options.everyNTrainSteps,
    everyNEpochs: options.everyNEpochs,
    trainTimeInterval: options.trainTimeIntervalMs ?? null,
    saveOnTrainEpochEnd: options.saveOnTrainEpochEnd ?? null,
  };
  return `ModelCheckpoint${JSON.stringify(key)}`;
}

/** What a state key says of its callback's ranking. */
export interface MonitorRule {
  /** Undefined when the callback does not rank. */
  readonly monitor: string | undefined;
  readonly mode: Mode;
}

/** What {@link stateKeyOf} wrote into a key, which may come from a file; undefined for any other text. */
export function ruleOfStateKey(stateKey: string): MonitorRule | undefined {
  const [, json] = /^ModelCheckpoint(\{.*\})(?:#\d+)?$/s.exec(stateKey) ?? [];
  if (json === undefined) return undefined;
  try {
    const { monitor, mode } = JSON.parse(json) as Readonly<Record<string, unknown>>;
    if (mode !== 'min' && mode !== 'max') return undefined;
    return { monitor: typeof monitor === 'string' ? monitor : undefined, mode };
  } catch {
    return undefined;
  }
}

/** A {@link CheckpointState} as a checkpoint stores it. */
export interface StoredCheckpointState {
  readonly [key: string]: string | number | boolean | null | readonly (readonly [string, number])[];
}

/**
 * The most kept files that a stored state lists. A longer list is not stored, so that a save costs about the same
 * however many are kept: each file holds its own score, and a resume gathers them from the folder.
 */
export const MAX_LISTED = 100;

/**
 * The state as JSON (non-finite numbers are the file format's business). `bestKModels` is null, and
 * `keptCount` tells how many there were, when there are more than {@link MAX_LISTED}.
 */
export function stateToJson(state: CheckpointState): StoredCheckpointState {
  const isListed = state.bestKModels.size <= MAX_LISTED;
  return {
    stateVersion: 1,
    ...state,
    bestModelScore: state.bestModelScore ?? null,
    currentScore: state.currentScore ?? null,
    bestKModels: isListed ? [...state.bestKModels] : null,
    ...(isListed ? {} : { keptCount: state.bestKModels.size }),
  };
}

/** How many kept files a stored state does not list; 0 when it lists them. */
export function unlistedCount(json: unknown): number {
  const { bestKModels, keptCount } = (json ?? {}) as Readonly<Record<string, unknown>>;
  return bestKModels === null && isCount(keptCount) ? keptCount : 0;
}

/**
 * The state from JSON, trusting nothing: it comes from a file.
 *
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) that names the field and what it holds.
 */
export function stateFromJson(json: unknown): CheckpointState {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new CheckpointFileError(
      `The stored ModelCheckpoint state is not an object: ${show(json)}.`,
    );
  }
  const stored = json as Readonly<Record<string, unknown>>;
  const take = <T>(field: string, isValid: (value: unknown) => value is T): T => {
    const value = Object.hasOwn(stored, field) ? stored[field] : undefined;
    if (isValid(value)) return value;
    throw new CheckpointFileError(
      `The stored ModelCheckpoint state holds ${show(value)} as ${field}.`,
      { details: { field, value } },
    );
  };
  return {
    dirpath: take('dirpath', isString),
    bestModelPath: take('bestModelPath', isString),
    bestModelScore: take('bestModelScore', isScore) ?? undefined,
    bestKModels: KeptModels.from(take('bestKModels', isScoreList) ?? []),
    kthBestModelPath: take('kthBestModelPath', isString),
    kthValue: take('kthValue', isNumber),
    lastModelPath: take('lastModelPath', isString),
    currentScore: take('currentScore', isScore) ?? undefined,
    topKSavedAtStep: take('topKSavedAtStep', isCount),
    topKSavedPath: take('topKSavedPath', isString),
    lastSavedAtStep: take('lastSavedAtStep', isCount),
    isTopKPending: take('isTopKPending', isBoolean),
    timerMs: take('timerMs', isNumber),
  };
}

/** The state with one file under another name. */
export function renamePath(state: CheckpointState, from: string, to: string): CheckpointState {
  const spell = (path: string): string => (path === from ? to : path);
  return {
    ...state,
    bestModelPath: spell(state.bestModelPath),
    bestKModels: state.bestKModels.renamed(from, to),
    kthBestModelPath: spell(state.kthBestModelPath),
    lastModelPath: spell(state.lastModelPath),
    topKSavedPath: spell(state.topKSavedPath),
  };
}

/** The state with the files that it did not list, the oldest first. */
export function withFiles(
  state: CheckpointState,
  options: ResolvedOptions,
  files: Iterable<{ readonly path: string; readonly score: number }>,
): CheckpointState {
  let kept = state.bestKModels;
  for (const { path, score } of files) kept = kept.with(path, score);
  return { ...state, ...ranking(options, kept), bestKModels: kept };
}

/** The state without files that are gone: they do not block new saves. */
export function withoutFiles(
  state: CheckpointState,
  options: ResolvedOptions,
  gone: ReadonlySet<string>,
): CheckpointState {
  if (gone.size === 0) return state;
  const stillThere = (path: string): string => (gone.has(path) ? '' : path);
  let kept = state.bestKModels;
  for (const path of gone) kept = kept.without(path);
  const without = { ...state, lastModelPath: stillThere(state.lastModelPath), bestKModels: kept };
  if (options.monitor === undefined) {
    return { ...without, bestModelPath: stillThere(state.bestModelPath) };
  }
  return { ...without, ...ranking(options, kept) };
}

/** What follows from the kept scores: the best, and the worst once k are kept. */
export function ranking(
  options: Pick<ResolvedOptions, 'mode' | 'saveTopK'>,
  kept: KeptModels,
): Pick<CheckpointState, 'bestModelPath' | 'bestModelScore' | 'kthBestModelPath' | 'kthValue'> {
  const { mode, saveTopK } = options;
  const best = kept.best(mode);
  const isFull = saveTopK === -1 || kept.size >= saveTopK;
  const worst = isFull ? kept.worst(mode) : undefined;
  return {
    bestModelPath: best?.[0] ?? '',
    bestModelScore: best?.[1],
    kthBestModelPath: worst?.[0] ?? '',
    kthValue: worst?.[1] ?? worstValue(mode),
  };
}

const isString = (value: unknown): value is string => typeof value === 'string';
const isNumber = (value: unknown): value is number => typeof value === 'number';
const isBoolean = (value: unknown): value is boolean => typeof value === 'boolean';
const isScore = (value: unknown): value is number | null => value === null || isNumber(value);
const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && Number(value) >= 0;
const isScoreList = (value: unknown): value is readonly (readonly [string, number])[] | null =>
  value === null ||
  (Array.isArray(value) &&
    value.every(
      (entry) =>
        Array.isArray(entry) && entry.length === 2 && isString(entry[0]) && isNumber(entry[1]),
    ));

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
