/** What the elements of a tensor are like. NaN and infinities are counted, and in nothing else. */
export interface TensorStatistics {
  readonly count: number;
  readonly nanCount: number;
  readonly infinityCount: number;
  readonly zeroCount: number;
  /** Of the finite elements; NaN when there is none. */
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  /** Of all finite elements (divided by their count, not by one less). */
  readonly std: number;
}

/** How many finite elements lie in each of some equal parts of `[low, high]`; the last part holds `high`. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly counts: readonly number[];
}

/**
 * Adds up statistics part by part, in float64. Values that are far from zero and near to each other lose
 * nothing: each part is measured from its own mean, and the parts are joined.
 *
 * Source: Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample Variances
 * (1979), formula 2.1.
 */
export class StatisticsSum {
  #count = 0;
  #nanCount = 0;
  #infinityCount = 0;
  #zeroCount = 0;
  #finiteCount = 0;
  #min = Number.POSITIVE_INFINITY;
  #max = Number.NEGATIVE_INFINITY;
  #mean = 0;
  /** Of the distances from the mean. */
  #sumOfSquares = 0;

  add(values: ArrayLike<number>): void {
    let [min, max, sum, finite] = [this.#min, this.#max, 0, 0];
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (!Number.isFinite(value)) {
        if (Number.isNaN(value)) this.#nanCount++;
        else this.#infinityCount++;
        continue;
      }
      if (value === 0) this.#zeroCount++;
      if (value < min) min = value;
      if (value > max) max = value;
      sum += value;
      finite++;
    }
    this.#count += values.length;
    [this.#min, this.#max] = [min, max];
    if (finite > 0) this.#join(values, sum / finite, finite);
  }

  #join(values: ArrayLike<number>, mean: number, finite: number): void {
    let sumOfSquares = 0;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (Number.isFinite(value)) sumOfSquares += (value - mean) ** 2;
    }
    const before = this.#finiteCount;
    const all = before + finite;
    const distance = mean - this.#mean;
    this.#finiteCount = all;
    this.#mean += (distance * finite) / all;
    this.#sumOfSquares += sumOfSquares + (distance * distance * before * finite) / all;
  }

  get result(): TensorStatistics {
    const isEmpty = this.#finiteCount === 0;
    return {
      count: this.#count,
      nanCount: this.#nanCount,
      infinityCount: this.#infinityCount,
      zeroCount: this.#zeroCount,
      min: isEmpty ? Number.NaN : this.#min,
      max: isEmpty ? Number.NaN : this.#max,
      mean: isEmpty ? Number.NaN : this.#mean,
      std: isEmpty ? Number.NaN : Math.sqrt(this.#sumOfSquares / this.#finiteCount),
    };
  }
}

/** Counts elements part by part into equal parts of a range that is known. */
export class HistogramSum {
  readonly #low: number;
  readonly #high: number;
  readonly #counts: number[];

  /** @param low finite, like `high`, which is at least `low`. */
  constructor(low: number, high: number, parts: number) {
    this.#low = low;
    this.#high = high;
    this.#counts = new Array<number>(parts).fill(0);
  }

  add(values: ArrayLike<number>): void {
    const counts = this.#counts;
    const low = this.#low;
    // Halved, since the difference of two large numbers may be infinite.
    const half = this.#high / 2 - low / 2;
    for (let i = 0; i < values.length; i++) {
      const value = values[i] as number;
      if (!Number.isFinite(value)) continue;
      const share = half === 0 ? 0 : (value / 2 - low / 2) / half;
      const part = Math.min(counts.length - 1, Math.floor(share * counts.length));
      counts[part] = (counts[part] as number) + 1;
    }
  }

  get result(): Histogram {
    return { low: this.#low, high: this.#high, counts: this.#counts };
  }
}
