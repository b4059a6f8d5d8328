import { relative } from 'node:path';
import type { ModelCheckpoint } from '../../src/index.ts';
import { fromNumber, type TraceCallback, type TraceEvent, type TraceNumber } from './trace.ts';

/** What the replay saw at one event, in the traces' own form; nothing is left out. */
export type SeenEvent = Required<Omit<TraceEvent, 'ops' | 'batch_idx' | 'metrics'>> &
  Pick<TraceEvent, 'batch_idx' | 'metrics'>;

/** A callback's attributes as the traces spell them. */
export function traceCallback(root: string, callback: ModelCheckpoint): TraceCallback {
  const below = (path: string) => (path === '' ? '' : relative(root, path));
  const score = (value: number | undefined) => (value === undefined ? null : fromNumber(value));
  return {
    dirpath: below(callback.dirpath),
    best_model_path: below(callback.bestModelPath),
    best_model_score: score(callback.bestModelScore),
    kth_best_model_path: below(callback.kthBestModelPath),
    kth_value: fromNumber(callback.kthValue),
    last_model_path: below(callback.lastModelPath),
    current_score: score(callback.currentScore),
    best_k_models: [...callback.bestKModels].map(([path, value]) => [
      below(path),
      fromNumber(value),
    ]),
  };
}

/** Recorded events with what they left out because it equals the previous event's. */
export function completed(events: readonly TraceEvent[]): readonly TraceEvent[] {
  let files: TraceEvent['files'];
  let callbacks: TraceEvent['callbacks'];
  return events.map((event) => {
    files = event.files ?? files;
    callbacks = event.callbacks ?? callbacks;
    return { ...event, ...(files && { files }), ...(callbacks && { callbacks }) };
  });
}

/** How the comparison of a phase makes allowance for what Highwater restores and Lightning forgets. */
export interface Allowance {
  readonly isResumed: boolean;
  /** Metrics that the phase may have restored. */
  readonly restored: ReadonlySet<string>;
}

/** One line for each difference between a recorded event and what was seen. */
export function differences(
  expected: TraceEvent,
  seen: SeenEvent,
  allowance: Allowance,
): readonly string[] {
  const at = `${expected.e} (epoch ${expected.epoch}, step ${expected.global_step})`;
  const found: string[] = [];
  const compare = (what: string, want: unknown, got: unknown) => {
    const [wanted, gotten] = [JSON.stringify(want), JSON.stringify(got)];
    if (wanted !== gotten) found.push(`${at}: ${what} is ${gotten}, expected ${wanted}`);
  };
  compare('hook', expected.e, seen.e);
  compare('epoch', expected.epoch, seen.epoch);
  compare('global_step', expected.global_step, seen.global_step);
  compare('batch_idx', expected.batch_idx, seen.batch_idx);
  if (expected.metrics !== undefined) {
    compare(
      'metrics',
      sorted(expected.metrics),
      metricsToCompare(expected.metrics, seen, allowance),
    );
  }
  if (expected.files !== undefined) compare('files', [...expected.files].sort(), seen.files);
  compare('number of callbacks', expected.callbacks?.length, seen.callbacks.length);
  expected.callbacks?.forEach((want, index) => {
    const got = seen.callbacks[index];
    for (const key of Object.keys(want) as (keyof TraceCallback)[]) {
      // Lightning forgets the score last saved on a resume, until a score is saved again.
      if (key === 'current_score' && allowance.isResumed && want[key] === null) continue;
      compare(`callback ${index} ${key}`, want[key], got?.[key]);
    }
  });
  return found;
}

/** What was seen, without what only a restored metric can explain. */
function metricsToCompare(
  expected: Readonly<Record<string, TraceNumber>>,
  seen: SeenEvent,
  { isResumed, restored }: Allowance,
): unknown {
  const entries = Object.entries(seen.metrics ?? {}).filter(
    ([name]) => Object.hasOwn(expected, name) || !isResumed || !restored.has(name),
  );
  return sorted(Object.fromEntries(entries));
}

function sorted(metrics: Readonly<Record<string, TraceNumber>>): unknown {
  return Object.entries(metrics).sort(([a], [b]) => (a < b ? -1 : 1));
}
