import { folderOf, lastPart } from '../checkpoint/folder.ts';
import { compareScores, type Mode } from '../checkpoint/monitor.ts';
import { CheckpointFileError, type HighwaterError } from '../errors.ts';
import type { JsonObject } from '../format/json.ts';
import {
  countIn,
  metricsIn,
  nameAt,
  namesIn,
  type StoredMetric,
  scoreIn,
} from './stored-document.ts';

/**
 * What is known of a file by its header alone; whether its data are whole only `verify` can tell.
 *
 * - `whole`: a full checkpoint: training can go on from it
 * - `weights only`: a checkpoint with weights and metadata
 * - `foreign`: a safetensors file that Highwater did not write, or a file of another format (`problem` says
 *   which), as PyTorch's
 * - `corrupt`: cut short, damaged, or no safetensors file at all
 * - `newer format`: written by a newer version of Highwater
 * - `unreadable`: the storage does not let it be read; a folder, too, that cannot be listed
 * - `dangling link`: a link to nothing
 */
export type FileState =
  | 'whole'
  | 'weights only'
  | 'foreign'
  | 'corrupt'
  | 'newer format'
  | 'unreadable'
  | 'dangling link';

/** One checkpoint of a folder, by its header and its name. */
export interface CheckpointSummary {
  /** As its storage takes it: for local files absolute. */
  readonly path: string;
  /** The last part of the path. */
  readonly name: string;
  /** Where its callback saves: the nearest folder above it with a journal, else the one it lies in. */
  readonly folder: string;
  /** 0-based; null when the file does not say. */
  readonly epoch: number | null;
  /** Optimizer steps taken; null when the file does not say. */
  readonly globalStep: number | null;
  /** The metric that its callback ranks by; null when it does not rank. */
  readonly monitor: string | null;
  /** Null when the monitored metric was not measured on these weights. NaN was recorded as ±Infinity. */
  readonly score: number | null;
  /** 1 for the best among the ranked files of its callback in its folder; null when it is not ranked. */
  readonly rank: number | null;
  /** Ranked first. */
  readonly best: boolean;
  /** The last file of its callback. */
  readonly last: boolean;
  readonly sizeBytes: number;
  /** When the storage last saw the file change: an ISO date in UTC. */
  readonly savedAt: string;
  readonly state: FileState;
  /** Whether low or high scores are better; null without monitor. */
  readonly mode: Mode | null;
  /** Of a link: what it leads to. */
  readonly target: string | null;
  /** Why it cannot be read; null when it can. */
  readonly problem: string | null;
  /** Counts the saves of a run, its resumes included: tells those of one step apart. 0 when unknown. */
  readonly sequence: number;
  /** The metrics that were measured on these weights. Weights-only files hold none. */
  readonly metrics: readonly StoredMetric[];
}

/** A file before it is ranked among its siblings. */
export interface UnrankedSummary extends CheckpointSummary {
  /** Files with one key are ranked among each other; undefined: not ranked. */
  readonly rankedAs: string | undefined;
}

/** What is known of a file before its header is read. */
export interface FileFacts {
  readonly path: string;
  readonly sizeBytes: number;
  readonly modifiedAtMs: number;
  readonly target?: string | undefined;
}

/** A checkpoint by what its document says; a foreign file has none. */
export function summaryOf(facts: FileFacts, document: JsonObject | undefined): UnrankedSummary {
  const bare = bareSummary(facts, 'foreign', null);
  if (document === undefined) return bare;
  const name = nameAt(namesIn(document), facts.path);
  const score = scoreIn(document, name);
  const isRanked = name?.role === 'topK' && name.score !== undefined;
  return {
    ...bare,
    epoch: countIn(document, 'epoch') ?? null,
    globalStep: countIn(document, 'globalStep') ?? null,
    monitor: score?.monitor ?? null,
    mode: score?.mode ?? null,
    score: score?.value ?? null,
    last: name?.role === 'last',
    state: document.kind === 'full' ? 'whole' : 'weights only',
    rankedAs: isRanked ? name.stateKey : undefined,
    sequence: countIn(document, 'sequence') ?? 0,
    metrics: metricsIn(document).filter(({ loggedFor }) => loggedFor === document.globalStep),
  };
}

/** A file that could not be read as a checkpoint. */
export function bareSummary(
  { path, sizeBytes, modifiedAtMs, target }: FileFacts,
  state: FileState,
  problem: string | null,
): UnrankedSummary {
  return {
    path,
    name: lastPart(path),
    folder: folderOf(path),
    epoch: null,
    globalStep: null,
    monitor: null,
    score: null,
    rank: null,
    best: false,
    last: false,
    sizeBytes,
    savedAt: new Date(modifiedAtMs).toISOString(),
    state,
    mode: null,
    target: target ?? null,
    problem,
    sequence: 0,
    metrics: [],
    rankedAs: undefined,
  };
}

/** What an error that came while a file was read says of the file. */
export function problemState(error: HighwaterError, isLink: boolean): FileState {
  if (error.code === 'CHECKPOINT_VERSION') return 'newer format';
  if (error.code === 'CHECKPOINT_FOREIGN') return 'foreign';
  if (error instanceof CheckpointFileError) return 'corrupt';
  const isGone = error.code === 'CHECKPOINT_NOT_FOUND' || error.code === 'STORAGE_NOTFOUND';
  return isLink && isGone ? 'dangling link' : 'unreadable';
}

/** Gives the ranked files of one folder their ranks: among equal scores the older comes first. */
export function ranked(files: readonly UnrankedSummary[]): readonly CheckpointSummary[] {
  const groups = new Map<string, UnrankedSummary[]>();
  for (const file of files) {
    if (file.rankedAs === undefined) continue;
    const group = groups.get(file.rankedAs);
    if (group === undefined) groups.set(file.rankedAs, [file]);
    else group.push(file);
  }
  const ranks = new Map<UnrankedSummary, number>();
  for (const group of groups.values()) {
    group.sort(bestFirst).forEach((file, i) => {
      ranks.set(file, i + 1);
    });
  }
  return files.map((file) => {
    const { rankedAs: _, ...summary } = file;
    const rank = ranks.get(file) ?? null;
    return { ...summary, rank, best: rank === 1 };
  });
}

function bestFirst(a: UnrankedSummary, b: UnrankedSummary): number {
  const order = compareScores(a.mode ?? 'min', a.score ?? Number.NaN, b.score ?? Number.NaN);
  return order || oldestFirst(a, b);
}

/** By the folder that each was saved in, in the order in which the folders come. */
export function groupedByFolder<T extends CheckpointSummary>(
  checkpoints: readonly T[],
): ReadonlyMap<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const checkpoint of checkpoints) {
    const group = groups.get(checkpoint.folder);
    if (group === undefined) groups.set(checkpoint.folder, [checkpoint]);
    else group.push(checkpoint);
  }
  return groups;
}

/** By the order in which a run saved them; two names of one save by name. */
export function oldestFirst(a: CheckpointSummary, b: CheckpointSummary): number {
  return (
    (a.globalStep ?? -1) - (b.globalStep ?? -1) ||
    a.sequence - b.sequence ||
    (a.path < b.path ? -1 : 1)
  );
}
