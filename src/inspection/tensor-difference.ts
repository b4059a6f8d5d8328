/** How far two tensors of one shape are from each other. */
export interface TensorDifference {
  readonly count: number;
  /** Elements that are not equal; two NaNs are equal, and so are `0` and `-0`. */
  readonly changedCount: number;
  /** The largest |b − a|; 0 when none differs. */
  readonly maxAbs: number;
  /** ‖b − a‖₂ ÷ ‖a‖₂; 0 when none differs, and ∞ when only `a` is all zeros. */
  readonly relativeNorm: number;
  /** Elements that are NaN, or another infinity, in one of the two only: not in the two figures above. */
  readonly incomparableCount: number;
}

/** Adds up a difference part by part, in float64. */
export class DifferenceSum {
  #count = 0;
  #changedCount = 0;
  #incomparableCount = 0;
  #maxAbs = 0;
  #squares = 0;
  #squaresBefore = 0;

  /** @param before and `after` are of one length. */
  add(before: ArrayLike<number>, after: ArrayLike<number>): void {
    let [maxAbs, squares, squaresBefore] = [this.#maxAbs, this.#squares, this.#squaresBefore];
    for (let i = 0; i < before.length; i++) {
      const a = before[i] as number;
      const b = after[i] as number;
      if (Number.isFinite(a)) squaresBefore += a * a;
      if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue;
      this.#changedCount++;
      const distance = Math.abs(b - a);
      if (!Number.isFinite(a) || !Number.isFinite(b)) {
        this.#incomparableCount++;
        continue;
      }
      if (distance > maxAbs) maxAbs = distance;
      squares += distance * distance;
    }
    this.#count += before.length;
    [this.#maxAbs, this.#squares, this.#squaresBefore] = [maxAbs, squares, squaresBefore];
  }

  get result(): TensorDifference {
    return {
      count: this.#count,
      changedCount: this.#changedCount,
      maxAbs: this.#maxAbs,
      relativeNorm: this.#squares === 0 ? 0 : Math.sqrt(this.#squares / this.#squaresBefore),
      incomparableCount: this.#incomparableCount,
    };
  }
}
