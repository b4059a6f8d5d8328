import type { CheckpointEvent } from './event.ts';

/** Whether low (`min`) or high (`max`) values of the monitored metric are better. */
export type Mode = 'min' | 'max';

/** A metric as one hook sees it. */
export interface MetricReading {
  readonly value: number;
  /** Measured on the weights of the present `globalStep`; only then may it rank them. */
  readonly isFresh: boolean;
  /** The `globalStep` whose weights it was measured on. */
  readonly loggedFor?: number;
}

/** A candidate for the monitor and for file names. `epoch` and `step` are integers, the rest floats. */
export interface Candidate extends MetricReading {
  readonly kind: 'float' | 'integer';
}

/** The one definition of better. Strict: an equal value, or NaN, is not better than anything. */
export function isBetter(mode: Mode, value: number, than: number): boolean {
  return mode === 'min' ? value < than : value > than;
}

/** Orders scores, the best first and NaN last; 0 for equals, whose order is for the caller to settle. */
export function compareScores(mode: Mode, a: number, b: number): number {
  if (isBetter(mode, a, b)) return -1;
  if (isBetter(mode, b, a)) return 1;
  return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
}

/** The worst possible value: +∞ when low is good, −∞ when high is good. */
export function worstValue(mode: Mode): number {
  return mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
}

/** A metric's value as it ranks and is recorded: NaN counts as the worst possible value. */
export function scoreOf(mode: Mode, value: number): number {
  return Number.isNaN(value) ? worstValue(mode) : value;
}

/**
 * What can be monitored and named at an event: the logged metrics, and `epoch` and `step`. A metric that
 * the user logged under one of these two names takes its place, truncated to an integer. They are always
 * fresh.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint._monitor_candidates`; freshness is Highwater's.
 */
export function candidatesAt(event: CheckpointEvent): ReadonlyMap<string, Candidate> {
  const candidates = new Map<string, Candidate>();
  for (const [name, { value, isFresh }] of event.metrics) {
    candidates.set(name, { value, isFresh, kind: 'float' });
  }
  for (const [name, counted] of [
    ['epoch', event.epoch],
    ['step', event.globalStep],
  ] as const) {
    const logged = event.metrics.get(name)?.value;
    const value = logged === undefined || !Number.isFinite(logged) ? counted : Math.trunc(logged);
    candidates.set(name, { value, isFresh: true, kind: 'integer' });
  }
  return candidates;
}
