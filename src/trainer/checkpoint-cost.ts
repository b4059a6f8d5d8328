import type { SaveReport } from '../saving/save-job.ts';
import { sizeText } from '../size-text.ts';

/** What the checkpoints of a run have cost so far. Times are in milliseconds. */
export interface CheckpointCost {
  /** How many saves are durable. */
  readonly saves: number;
  /** Bytes written: each content counts once, however many names it has. */
  readonly bytes: number;
  /** Taking hold of the state, in the hooks. */
  readonly captureMs: number;
  /** Hooks waiting for saves, and the end of training for the last ones. */
  readonly waitedMs: number;
  /** Writing, behind training. */
  readonly writeMs: number;
}

export const NO_COST: CheckpointCost = {
  saves: 0,
  bytes: 0,
  captureMs: 0,
  waitedMs: 0,
  writeMs: 0,
};

export function withSave(cost: CheckpointCost, report: SaveReport): CheckpointCost {
  return {
    saves: cost.saves + 1,
    bytes: cost.bytes + report.bytes,
    captureMs: cost.captureMs + report.captureMs,
    waitedMs: cost.waitedMs + report.waitedMs,
    writeMs: cost.writeMs + report.writeMs,
  };
}

/** In less time than this a part of it says nothing. */
const LEAST_SHARED_MS = 1000;

/** One line for people: how much of `elapsedMs` of training went into checkpoints. */
export function describeCost(cost: CheckpointCost, elapsedMs: number): string {
  const { saves, bytes, captureMs, waitedMs } = cost;
  const tookMs = captureMs + waitedMs;
  const share =
    elapsedMs < LEAST_SHARED_MS ? '' : ` (${((tookMs / elapsedMs) * 100).toFixed(1)} %)`;
  const count = `${saves} ${saves === 1 ? 'checkpoint' : 'checkpoints'}`;
  return (
    `${count}, ${sizeText(bytes)}, took ${seconds(tookMs)} s${share} of ${seconds(elapsedMs)} s: ` +
    `capturing ${seconds(captureMs)} s, waiting ${seconds(waitedMs)} s`
  );
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(2);
}
