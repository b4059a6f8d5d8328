import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { check } from './check.ts';
import { CurveScheduler, type LRCurve } from './curve.ts';
import type { LRScheduler } from './scheduler.ts';

// Source of all formulas: PyTorch 2, `torch.optim.lr_scheduler`, in their closed forms.

/** Any curve: `rate = curve(baseRate, step)`, a pure function; `step` counts from 0. */
export function lambdaLR(curve: LRCurve): LRScheduler {
  check('lambdaLR', 'curve', curve, typeof curve === 'function', 'a function of (baseRate, step)');
  return new CurveScheduler('lambdaLR', curve);
}

/** Times `gamma` (above 0, default 0.1) every `stepSize` steps, an integer of at least 1. */
export function stepLR(options: {
  readonly stepSize: number;
  readonly gamma?: number;
}): LRScheduler {
  checkOptionNames('stepLR', options, { stepSize: true, gamma: true });
  const { stepSize, gamma = 0.1 } = options;
  checkCount('stepLR', 'stepSize', stepSize);
  checkPositive('stepLR', 'gamma', gamma);
  return new CurveScheduler('stepLR', (base, step) => base * gamma ** Math.floor(step / stepSize));
}

/** Times `gamma` (above 0, default 0.1) at each of `milestones`, integers of at least 0. */
export function multiStepLR(options: {
  readonly milestones: readonly number[];
  readonly gamma?: number;
}): LRScheduler {
  checkOptionNames('multiStepLR', options, { milestones: true, gamma: true });
  const { milestones, gamma = 0.1 } = options;
  const isList = Array.isArray(milestones) && milestones.every((m) => isCount(m, 0));
  check('multiStepLR', 'milestones', milestones, isList, 'a list of integers of at least 0');
  checkPositive('multiStepLR', 'gamma', gamma);
  const reached = (step: number): number => milestones.filter((m) => m <= step).length;
  return new CurveScheduler('multiStepLR', (base, step) => base * gamma ** reached(step));
}

/** Times `gamma` (above 0) at every step. */
export function exponentialLR(options: { readonly gamma: number }): LRScheduler {
  checkOptionNames('exponentialLR', options, { gamma: true });
  const { gamma } = options;
  checkPositive('exponentialLR', 'gamma', gamma);
  return new CurveScheduler('exponentialLR', (base, step) => base * gamma ** step);
}

/**
 * Half a cosine from the rate at the start to `etaMin` (default 0) in `tMax` steps, an integer of at least 1;
 * then up again, and so on.
 */
export function cosineAnnealingLR(options: {
  readonly tMax: number;
  readonly etaMin?: number;
}): LRScheduler {
  checkOptionNames('cosineAnnealingLR', options, { tMax: true, etaMin: true });
  const { tMax, etaMin = 0 } = options;
  checkCount('cosineAnnealingLR', 'tMax', tMax);
  const isRate = Number.isFinite(etaMin) && etaMin >= 0;
  check('cosineAnnealingLR', 'etaMin', etaMin, isRate, 'a finite number of at least 0');
  return new CurveScheduler(
    'cosineAnnealingLR',
    (base, step) => etaMin + ((base - etaMin) * (1 + Math.cos((Math.PI * step) / tMax))) / 2,
  );
}

/** What {@link oneCycleLR} takes. */
export interface OneCycleOptions {
  /** The highest rate, above 0. */
  readonly maxLr: number;
  /** Steps of the whole cycle, an integer of at least 1; beyond it the last rate stays. */
  readonly totalSteps: number;
  /** Part of the cycle in which the rate rises, in (0, 1). Default 0.3. */
  readonly pctStart?: number;
  /** Default `'cos'`. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** The first rate is `maxLr / divFactor`. Default 25. */
  readonly divFactor?: number;
  /** The last rate is the first one divided by this. Default 10000. */
  readonly finalDivFactor?: number;
  /** Fall back as fast as it rose, then to the last rate. Default false: fall in one go. */
  readonly threePhase?: boolean;
}

const ONE_CYCLE_NAMES: OptionNames<OneCycleOptions> = {
  maxLr: true,
  totalSteps: true,
  pctStart: true,
  annealStrategy: true,
  divFactor: true,
  finalDivFactor: true,
  threePhase: true,
};

/**
 * One rise to `maxLr` and one fall; use it with `interval: 'step'`. The rate that the optimizer was made
 * with plays no part, and momentum is left alone (PyTorch cycles it too unless told not to).
 */
export function oneCycleLR(options: OneCycleOptions): LRScheduler {
  checkOptionNames('oneCycleLR', options, ONE_CYCLE_NAMES);
  const { maxLr, totalSteps, pctStart = 0.3, annealStrategy = 'cos' } = options;
  const { divFactor = 25, finalDivFactor = 1e4, threePhase = false } = options;
  checkPositive('oneCycleLR', 'maxLr', maxLr);
  checkCount('oneCycleLR', 'totalSteps', totalSteps);
  check('oneCycleLR', 'pctStart', pctStart, pctStart > 0 && pctStart < 1, 'between 0 and 1');
  checkPositive('oneCycleLR', 'divFactor', divFactor);
  checkPositive('oneCycleLR', 'finalDivFactor', finalDivFactor);
  const isKnown = annealStrategy === 'cos' || annealStrategy === 'linear';
  check('oneCycleLR', 'annealStrategy', annealStrategy, isKnown, "'cos' or 'linear'");

  const first = maxLr / divFactor;
  const last = first / finalDivFactor;
  const top = pctStart * totalSteps - 1;
  const end = totalSteps - 1;
  const points: readonly (readonly [step: number, rate: number])[] = threePhase
    ? [
        [0, first],
        [top, maxLr],
        [2 * top, first],
        [end, last],
      ]
    : [
        [0, first],
        [top, maxLr],
        [end, last],
      ];
  const anneal = annealStrategy === 'cos' ? cosine : linear;
  return new CurveScheduler('oneCycleLR', (_base, step) => {
    const at = points.findIndex(([until], index) => index > 0 && step <= until);
    if (at === -1) return last;
    const [[from, low], [until, high]] = [points[at - 1]!, points[at]!];
    return until === from ? high : anneal(low, high, (step - from) / (until - from));
  });
}

function cosine(from: number, to: number, part: number): number {
  return to + ((from - to) / 2) * (1 + Math.cos(Math.PI * part));
}

function linear(from: number, to: number, part: number): number {
  return from + (to - from) * part;
}

function isCount(value: unknown, least: number): boolean {
  return Number.isSafeInteger(value) && Number(value) >= least;
}

function checkCount(name: string, option: string, value: number): void {
  check(name, option, value, isCount(value, 1), 'an integer of at least 1');
}

function checkPositive(name: string, option: string, value: number): void {
  check(name, option, value, value > 0 && Number.isFinite(value), 'a finite number above 0');
}
