import { CheckpointFileError } from '../errors.ts';
import { type Mode, worstValue } from './monitor.ts';
import type { ResolvedOptions } from './options.ts';
import { bestOf, worstOf } from './retention.ts';

/** All that a ModelCheckpoint remembers. Immutable: every decision makes the next one. */
export interface CheckpointState {
  /** Folder of the files, absolute; `''` until it is resolved. */
  readonly dirpath: string;
  /** The best file (without a monitor: the newest); `''` when there is none. */
  readonly bestModelPath: string;
  readonly bestModelScore: number | undefined;
  /** Path → score, in the order they were saved. */
  readonly bestKModels: ReadonlyMap<string, number>;
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
    bestKModels: new Map(),
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
  const kept = new Set(state.bestKModels.keys());
  if (state.bestModelPath !== '') kept.add(state.bestModelPath);
  if (state.lastModelPath !== '') kept.add(state.lastModelPath);
  return kept;
}

/**
 * Identifies a callback's state in a checkpoint: its class and what makes it different from its siblings,
 * as the constructor normalised it. Callbacks that share a key are told apart by their order (`#2`, `#3`).
 */
export function stateKeyOf(options: ResolvedOptions): string {
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

/** A {@link CheckpointState} as a checkpoint stores it. */
export interface StoredCheckpointState {
  readonly [key: string]: string | number | boolean | null | readonly (readonly [string, number])[];
}

/** The state as JSON (non-finite numbers are the file format's business). */
export function stateToJson(state: CheckpointState): StoredCheckpointState {
  return {
    stateVersion: 1,
    ...state,
    bestModelScore: state.bestModelScore ?? null,
    currentScore: state.currentScore ?? null,
    bestKModels: [...state.bestKModels],
  };
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
    bestKModels: new Map(take('bestKModels', isScoreList)),
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
  const kept = [...state.bestKModels].map(([path, score]) => [spell(path), score] as const);
  return {
    ...state,
    bestModelPath: spell(state.bestModelPath),
    bestKModels: new Map(kept),
    kthBestModelPath: spell(state.kthBestModelPath),
    lastModelPath: spell(state.lastModelPath),
    topKSavedPath: spell(state.topKSavedPath),
  };
}

/** The state without files that are gone: they do not block new saves. */
export function withoutFiles(
  state: CheckpointState,
  options: ResolvedOptions,
  gone: ReadonlySet<string>,
): CheckpointState {
  if (gone.size === 0) return state;
  const kept = new Map([...state.bestKModels].filter(([path]) => !gone.has(path)));
  const stillThere = (path: string): string => (gone.has(path) ? '' : path);
  const without = { ...state, lastModelPath: stillThere(state.lastModelPath), bestKModels: kept };
  if (options.monitor === undefined) {
    return { ...without, bestModelPath: stillThere(state.bestModelPath) };
  }
  return { ...without, ...ranking(options, kept) };
}

/** What follows from the kept scores: the best, and the worst once k are kept. */
export function ranking(
  options: Pick<ResolvedOptions, 'mode' | 'saveTopK'>,
  kept: ReadonlyMap<string, number>,
): Pick<CheckpointState, 'bestModelPath' | 'bestModelScore' | 'kthBestModelPath' | 'kthValue'> {
  const { mode, saveTopK } = options;
  const best = bestOf(mode, kept);
  const isFull = saveTopK === -1 || kept.size >= saveTopK;
  const worst = isFull ? worstOf(mode, kept) : undefined;
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
const isScoreList = (value: unknown): value is readonly (readonly [string, number])[] =>
  Array.isArray(value) &&
  value.every(
    (entry) =>
      Array.isArray(entry) && entry.length === 2 && isString(entry[0]) && isNumber(entry[1]),
  );

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
