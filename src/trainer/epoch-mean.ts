import type { Scalar } from './scalar.ts';

/** How many unread values are held before they are read: bounds memory, keeps reads off the training path. */
const MAX_UNREAD = 64;

/**
 * The weighted mean of a metric over an epoch, in float32 arithmetic as Lightning's: sum and count are
 * kept, values are read late. NaN makes the mean NaN.
 *
 * Source: PyTorch Lightning 2.6, `_ResultMetric.update` and `compute`.
 */
export class EpochMean {
  #sum: number;
  #weight: number;
  #unread: { readonly scalar: Scalar; readonly weight: number }[] = [];
  #reading: Promise<void> = Promise.resolve();

  constructor(state: { readonly sum: number; readonly weight: number } = { sum: 0, weight: 0 }) {
    this.#sum = state.sum;
    this.#weight = state.weight;
  }

  add(scalar: Scalar, weight: number): void {
    this.#unread.push({ scalar: scalar.share(), weight });
    if (this.#unread.length >= MAX_UNREAD) void this.#settle();
  }

  /** The mean, or undefined when nothing was added; starts over. */
  async take(): Promise<number | undefined> {
    await this.#settle();
    const mean = this.#weight === 0 ? undefined : Math.fround(this.#sum / this.#weight);
    this.#sum = 0;
    this.#weight = 0;
    return mean;
  }

  async stateDict(): Promise<{ readonly sum: number; readonly weight: number }> {
    await this.#settle();
    return { sum: this.#sum, weight: this.#weight };
  }

  #settle(): Promise<void> {
    const unread = this.#unread;
    this.#unread = [];
    this.#reading = this.#reading.then(async () => {
      for (const { scalar, weight } of unread) {
        const value = await scalar.value();
        this.#sum = Math.fround(this.#sum + Math.fround(Math.fround(value) * weight));
        this.#weight += weight;
        scalar.release();
      }
    });
    return this.#reading;
  }
}
