import type { KeptModels } from './kept-models.ts';
import { isBetter, type Mode } from './monitor.ts';

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
export function isKept(rule: RetentionRule, kept: KeptModels, score: number): boolean {
  if (rule.saveTopK === -1 || kept.size < rule.saveTopK) return true;
  const worst = kept.worst(rule.mode);
  return worst === undefined || isBetter(rule.mode, score, worst[1]);
}

/**
 * Which files make room for one more: the worst, the oldest among equals, until k - 1 are left. More than
 * one only when k was lowered since they were saved.
 */
export function surplusOf(rule: RetentionRule, kept: KeptModels): readonly string[] {
  if (rule.saveTopK === -1) return [];
  let left = kept;
  const surplus: string[] = [];
  while (left.size >= rule.saveTopK) {
    const worst = left.worst(rule.mode);
    if (worst === undefined) break;
    left = left.without(worst[0]);
    surplus.push(worst[0]);
  }
  return surplus;
}
