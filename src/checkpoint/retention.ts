import { isBetter, type Mode } from './monitor.ts';

/** The kept files and their scores, oldest first. */
export type KeptScores = ReadonlyMap<string, number>;

/** What a score meets when it asks to be kept. */
export interface RetentionRule {
  readonly mode: Mode;
  /** How many best are kept; -1 all. Not 0: then nobody asks. */
  readonly saveTopK: number;
}

/**
 * Whether a score is kept: when fewer than k are, when all are, or when it is strictly better than the
 * worst kept. A tie keeps the older file.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint.check_monitor_top_k`.
 */
export function isKept(rule: RetentionRule, kept: KeptScores, score: number): boolean {
  if (rule.saveTopK === -1 || kept.size < rule.saveTopK) return true;
  const worst = worstOf(rule.mode, kept);
  return worst === undefined || isBetter(rule.mode, score, worst[1]);
}

/**
 * Which files make room for one more: the worst, the oldest among equals, until k - 1 are left. More than
 * one only when k was lowered since they were saved.
 */
export function surplusOf(rule: RetentionRule, kept: KeptScores): readonly string[] {
  if (rule.saveTopK === -1) return [];
  const left = new Map(kept);
  const surplus: string[] = [];
  while (left.size >= rule.saveTopK) {
    const worst = worstOf(rule.mode, left);
    if (worst === undefined) break;
    left.delete(worst[0]);
    surplus.push(worst[0]);
  }
  return surplus;
}

/** The best kept, the oldest among equals; undefined when none is. */
export function bestOf(mode: Mode, kept: KeptScores): readonly [string, number] | undefined {
  return first(kept, (score, than) => isBetter(mode, score, than));
}

/** The worst kept, the oldest among equals; undefined when none is. */
export function worstOf(mode: Mode, kept: KeptScores): readonly [string, number] | undefined {
  return first(kept, (score, than) => isBetter(mode, than, score));
}

function first(
  kept: KeptScores,
  beats: (score: number, than: number) => boolean,
): readonly [string, number] | undefined {
  let found: readonly [string, number] | undefined;
  for (const entry of kept) if (found === undefined || beats(entry[1], found[1])) found = entry;
  return found;
}
