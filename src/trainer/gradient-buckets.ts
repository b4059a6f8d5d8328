import type { LoadedTensor, StateEntry } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { NumberBuffer } from '../strategies/strategy.ts';

/** Where the gradient of one weight lies. */
export interface GradientPlace {
  readonly entry: StateEntry;
  readonly bucket: NumberBuffer;
  /** In elements. */
  readonly at: number;
  readonly length: number;
}

/**
 * The gradients of some weights in one flat array for each dtype, used again for every batch. Behind those of float32
 * there is for each weight on how many ranks it has a gradient, and on how many ranks another weight has one: so
 * one sum over the ranks is enough.
 */
export class GradientBuckets {
  readonly places: readonly GradientPlace[];
  /** What is summed over the ranks, in place. */
  readonly arrays: readonly NumberBuffer[];
  readonly #names: ReadonlySet<string>;
  /** The last elements of the float32 array. */
  readonly #marks: Float32Array;

  /** @throws MisconfigurationError for a weight that is neither float32 nor float64. */
  constructor(weights: readonly StateEntry[]) {
    const lengths = { F32: 0, F64: 0 };
    const laid = weights.map((entry) => {
      const { dtype, name, shape } = entry;
      if (dtype !== 'F32' && dtype !== 'F64') {
        throw new MisconfigurationError(
          `The gradient of '${name}' is ${dtype}, but ranks add up F32 and F64 only.`,
          { details: { name, dtype } },
        );
      }
      const length = shape.reduce((product, size) => product * size, 1);
      lengths[dtype] += length;
      return { entry, dtype, length, at: lengths[dtype] - length };
    });
    const F32 = new Float32Array(lengths.F32 + weights.length + 1);
    const F64 = new Float64Array(lengths.F64);
    this.#marks = F32.subarray(lengths.F32);
    this.places = laid.map(({ dtype, ...place }) => ({
      ...place,
      bucket: dtype === 'F32' ? F32 : F64,
    }));
    this.#names = new Set(weights.map(({ name }) => name));
    this.arrays = lengths.F64 === 0 ? [F32] : [F32, F64];
  }

  has(name: string): boolean {
    return this.#names.has(name);
  }

  /** Begins a sum: says which gradients this rank has, and that they are 0 where it has none. */
  mark(own: ReadonlyMap<string, unknown>): void {
    let known = 0;
    for (const [i, { entry, bucket, at, length }] of this.places.entries()) {
      const isOwn = own.has(entry.name);
      this.#marks[i] = isOwn ? 1 : 0;
      if (isOwn) known++;
      else bucket.fill(0, at, at + length);
    }
    this.#marks[this.places.length] = known < own.size ? 1 : 0;
  }

  /** After the sum: whether a rank has a gradient that has no place here. */
  get isIncomplete(): boolean {
    return this.#marks[this.places.length] !== 0;
  }

  /** After the sum: those that are there on any rank. Their bytes are views, good until the next sum. */
  sums(): readonly LoadedTensor[] {
    return this.places
      .filter((_, i) => this.#marks[i] !== 0)
      .map((place) => {
        const { name, dtype, shape } = place.entry;
        return { group: 'gradient', name, dtype, shape, bytes: bytesOf(place) };
      });
  }
}

/** A view of the bytes of a weight's gradient. */
export function bytesOf({ bucket, at, length }: GradientPlace): Uint8Array {
  const { BYTES_PER_ELEMENT: size, buffer, byteOffset } = bucket;
  return new Uint8Array(buffer, byteOffset + at * size, length * size);
}
