import { isBetter, type Mode, scoreOf, worstValue } from '../checkpoint/monitor.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { check, knownRate } from './check.ts';
import type { LRScheduler } from './scheduler.ts';

/** What {@link reduceLROnPlateau} takes. */
export interface PlateauOptions {
  /** Default `'min'`. */
  readonly mode?: Mode;
  /** The rate is multiplied by this, in (0, 1). Default 0.1. */
  readonly factor?: number;
  /** So many steps in a row may bring nothing better, an integer of at least 0. Default 10. */
  readonly patience?: number;
  /** How much better counts, at least 0. Default 0.0001. */
  readonly threshold?: number;
  /** `'rel'` (the default): that part of the best value; `'abs'`: that much. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Steps after a reduction in which nothing is counted. Default 0. */
  readonly cooldown?: number;
  /** The rate is not reduced below this. Default 0. */
  readonly minLr?: number;
  /** A reduction by no more than this is not made. Default 1e-8. */
  readonly eps?: number;
}

const NAMES: OptionNames<PlateauOptions> = {
  mode: true,
  factor: true,
  patience: true,
  threshold: true,
  thresholdMode: true,
  cooldown: true,
  minLr: true,
  eps: true,
};

/**
 * Lowers the rate, from what it is by then, when the monitored metric has stopped getting better. What better means is the rule of
 * checkpoints: NaN is the worst possible value, and an equal value is not better.
 *
 * Source: PyTorch 2, `torch.optim.lr_scheduler.ReduceLROnPlateau`.
 * @throws MisconfigurationError naming the option, its value and what is allowed.
 */
export function reduceLROnPlateau(options: PlateauOptions = {}): LRScheduler {
  return new ReduceOnPlateau(options);
}

interface PlateauState {
  readonly best: number;
  readonly badSteps: number;
  readonly cooldownLeft: number;
}

class ReduceOnPlateau implements LRScheduler {
  readonly needsMetric = true;
  readonly #options: Required<PlateauOptions>;
  #state: PlateauState;

  constructor(options: PlateauOptions) {
    checkOptionNames('reduceLROnPlateau', options, NAMES);
    const { mode = 'min', factor = 0.1, patience = 10, threshold = 1e-4 } = options;
    const { thresholdMode = 'rel', cooldown = 0, minLr = 0, eps = 1e-8 } = options;
    const require = (option: string, value: unknown, isAllowed: boolean, allowed: string): void =>
      check('reduceLROnPlateau', option, value, isAllowed, allowed);
    require('mode', mode, mode === 'min' || mode === 'max', "'min' or 'max'");
    require('factor', factor, factor > 0 && factor < 1, 'between 0 and 1');
    for (const [option, value] of Object.entries({ patience, cooldown })) {
      require(option, value, Number.isSafeInteger(value) && value >= 0, 'an integer of at least 0');
    }
    for (const [option, value] of Object.entries({ threshold, minLr, eps })) {
      require(option, value, Number.isFinite(value) && value >= 0, 'a finite number of at least 0');
    }
    const isKnown = thresholdMode === 'rel' || thresholdMode === 'abs';
    require('thresholdMode', thresholdMode, isKnown, "'rel' or 'abs'");
    this.#options = { mode, factor, patience, threshold, thresholdMode, cooldown, minLr, eps };
    this.#state = startOf(mode);
  }

  start(baseRate: number | undefined): undefined {
    knownRate('reduceLROnPlateau', baseRate);
    this.#state = startOf(this.#options.mode);
  }

  step(metric?: number, rate = Number.NaN): number | undefined {
    const { mode, factor, patience, cooldown, minLr, eps } = this.#options;
    const value = scoreOf(mode, metric ?? Number.NaN);
    let { best, badSteps, cooldownLeft } = this.#state;
    let lowered: number | undefined;
    const isBest = isBetter(mode, value, this.#bar(best));
    if (isBest) best = value;
    badSteps = isBest ? 0 : badSteps + 1;
    if (cooldownLeft > 0) {
      cooldownLeft--;
      badSteps = 0;
    }
    if (badSteps > patience) {
      const lower = Math.max(rate * factor, minLr);
      if (rate - lower > eps) lowered = lower;
      cooldownLeft = cooldown;
      badSteps = 0;
    }
    this.#state = { best, badSteps, cooldownLeft };
    return lowered;
  }

  /** What a value must beat. */
  #bar(best: number): number {
    const { mode, threshold, thresholdMode } = this.#options;
    const margin = mode === 'min' ? -threshold : threshold;
    return thresholdMode === 'rel' ? best * (1 + margin) : best + margin;
  }

  stateDict(): JsonValue {
    return { ...this.#state };
  }

  loadStateDict(state: JsonValue): void {
    const stored = (state ?? {}) as Record<keyof PlateauState, unknown>;
    const isOwn = (['best', 'badSteps', 'cooldownLeft'] as const).every(
      (field) => typeof stored[field] === 'number',
    );
    if (!isOwn) {
      throw new MisconfigurationError(
        `reduceLROnPlateau: the stored schedule is ${JSON.stringify(state)}, which is of another kind of ` +
          `scheduler.`,
        { details: { state } },
      );
    }
    this.#state = stored as PlateauState;
  }
}

function startOf(mode: Mode): PlateauState {
  return { best: worstValue(mode), badSteps: 0, cooldownLeft: 0 };
}
