import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { knownRate } from './check.ts';
import type { LRScheduler } from './scheduler.ts';

/** A learning rate as a function of the rate at the start and of how often it has moved on (from 0). */
export type LRCurve = (baseRate: number, step: number) => number;

/** A scheduler that follows a curve: all its state is the rate at the start and a count. */
export class CurveScheduler implements LRScheduler {
  readonly #name: string;
  readonly #curve: LRCurve;
  #baseRate = Number.NaN;
  #step = 0;

  constructor(name: string, curve: LRCurve) {
    this.#name = name;
    this.#curve = curve;
  }

  /** @throws MisconfigurationError when the optimizer's rate is not known. */
  start(baseRate: number | undefined): number {
    this.#baseRate = knownRate(this.#name, baseRate);
    this.#step = 0;
    return this.#rate();
  }

  step(): number {
    this.#step++;
    return this.#rate();
  }

  stateDict(): JsonValue {
    return { baseRate: this.#baseRate, step: this.#step };
  }

  /** @throws MisconfigurationError for the state of another kind of scheduler. */
  loadStateDict(state: JsonValue): void {
    const { baseRate, step } = (state ?? {}) as { baseRate?: unknown; step?: unknown };
    if (typeof baseRate !== 'number' || !Number.isSafeInteger(step) || Number(step) < 0) {
      throw new MisconfigurationError(
        `${this.#name}: the stored schedule is ${JSON.stringify(state)}, which is of another kind of scheduler.`,
        { details: { state } },
      );
    }
    this.#baseRate = baseRate;
    this.#step = Number(step);
  }

  #rate(): number {
    const rate = this.#curve(this.#baseRate, this.#step);
    if (Number.isFinite(rate)) return rate;
    throw new MisconfigurationError(
      `${this.#name}: at step ${this.#step} the learning rate would be ${rate}, but it must be finite.`,
    );
  }
}
