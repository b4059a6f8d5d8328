import type { Scalar } from './scalar.ts';

/** How the values of an epoch become one. */
export type ReduceFx = 'mean' | 'sum' | 'min' | 'max';

/** How many unread values are held before they are read: bounds memory, keeps reads off the training path. */
const MAX_UNREAD = 64;

/** `so far, value, its weight → so far`, in float32; a NaN makes every result NaN. */
const REDUCERS: Readonly<
  Record<ReduceFx, (sofar: number, value: number, weight: number) => number>
> = {
  mean: (sofar, value, weight) => Math.fround(sofar + Math.fround(value * weight)),
  sum: (sofar, value) => Math.fround(sofar + value),
  min: (sofar, value) => Math.min(sofar, value),
  max: (sofar, value) => Math.max(sofar, value),
};
const START: Readonly<Record<ReduceFx, number>> = {
  mean: 0,
  sum: 0,
  min: Number.POSITIVE_INFINITY,
  max: Number.NEGATIVE_INFINITY,
};

/**
 * A metric over an epoch, in float32 arithmetic as Lightning's: a mean weighted by batch size, a sum, the
 * least or the greatest value. Values are read late. NaN makes the result NaN.
 *
 * Source: PyTorch Lightning 2.6, `_ResultMetric.update` and `compute`.
 */
export class EpochReduction {
  readonly #reduceFx: ReduceFx;
  #sofar: number;
  #weight: number;
  #unread: { readonly scalar: Scalar; readonly weight: number }[] = [];
  #reading: Promise<void> = Promise.resolve();

  constructor(
    reduceFx: ReduceFx,
    state: { readonly sum: number; readonly weight: number } = { sum: START[reduceFx], weight: 0 },
  ) {
    this.#reduceFx = reduceFx;
    this.#sofar = state.sum;
    this.#weight = state.weight;
  }

  /** A weight of 0 does not count, whatever the value. */
  add(scalar: Scalar, weight: number): void {
    if (weight === 0) return;
    this.#unread.push({ scalar: scalar.share(), weight });
    // What cannot be read is an error of `take`.
    if (this.#unread.length >= MAX_UNREAD) this.#settle().catch(() => undefined);
  }

  /** The result, or undefined when nothing was added; starts over. */
  async take(): Promise<number | undefined> {
    await this.#settle();
    const isMean = this.#reduceFx === 'mean';
    const result = isMean ? Math.fround(this.#sofar / this.#weight) : this.#sofar;
    const isEmpty = this.#weight === 0;
    this.#sofar = START[this.#reduceFx];
    this.#weight = 0;
    return isEmpty ? undefined : result;
  }

  async stateDict(): Promise<{ readonly sum: number; readonly weight: number }> {
    await this.#settle();
    return { sum: this.#sofar, weight: this.#weight };
  }

  #settle(): Promise<void> {
    const unread = this.#unread;
    this.#unread = [];
    this.#reading = this.#reading.then(async () => {
      for (const { scalar, weight } of unread) {
        const value = Math.fround(await scalar.value());
        this.#sofar = REDUCERS[this.#reduceFx](this.#sofar, value, weight);
        this.#weight += weight;
        scalar.release();
      }
    });
    return this.#reading;
  }
}
