import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { type Block, philox4x32 } from './philox.ts';

const UINT32_RANGE = 0x1_0000_0000;

/**
 * Marks the keys that derive streams, so that no stream's name is one of the numbers drawn. A seed has
 * 53 bits, so this bit of the key's upper word is never set by one.
 */
const DERIVING = 0x8000_0000;

/** All there is to an {@link Rng}. Plain JSON. */
export type RngState = {
  /** The seed it was made with. */
  readonly seed: number;
  /** Which of the seed's streams it is: `[0, 0]`, or what {@link Rng.fork} derived. Two uint32. */
  readonly stream: readonly [number, number];
  /** How many 32-bit words have been drawn. */
  readonly counter: number;
};

/**
 * Random numbers that are a function of a seed, a stream and a count of draws, and of nothing else.
 * Its state is three numbers, read and restored in O(1), and nothing is kept beside it: a generator
 * put back to a state goes on with the very same numbers. Not for cryptography.
 *
 * Source: Philox4x32-10, see {@link philox4x32}. Period 2^53 draws for each stream.
 */
export class Rng {
  #seed: number;
  #stream: readonly [number, number] = [0, 0];
  #counter = 0;
  /** The words of one block and its number: derived from the state, never part of it. */
  #block: Block = [0, 0, 0, 0];
  #blockNumber = -1;

  /**
   * @param seed an integer from 0 to 2^53 - 1, both included.
   * @throws MisconfigurationError (`MISCONFIGURATION`) for any other seed.
   */
  constructor(seed: number) {
    if (!isCount(seed)) {
      throw new MisconfigurationError(
        `Rng: seed is ${String(seed)}, but it must be an integer from 0 to ${Number.MAX_SAFE_INTEGER}.`,
        { details: { option: 'seed', value: seed } },
      );
    }
    this.#seed = seed;
  }

  /** The seed of this generator and of all its forks. */
  get seed(): number {
    return this.#seed;
  }

  /** The next 32 bits, as an integer from 0 to 2^32 - 1, both included. One draw. */
  nextUint32(): number {
    const blockNumber = Math.floor(this.#counter / 4);
    if (blockNumber !== this.#blockNumber) {
      this.#block = philox4x32([...words(blockNumber), ...this.#stream], words(this.#seed));
      this.#blockNumber = blockNumber;
    }
    return this.#block[this.#counter++ % 4]!;
  }

  /**
   * A seed for an engine's seeded operations (`tf.dropout`, `jax.random.key`): an integer from 1 to
   * 2^31 - 1, both included. Never 0, which TensorFlow.js takes for "no seed", and it fits an int32.
   */
  nextSeed(): number {
    return this.integer(0x7fff_ffff) + 1;
  }

  /** A number in [0, 1), evenly spread over the multiples of 2^-53. Two draws. */
  uniform(): number {
    const high = this.nextUint32() >>> 5;
    const low = this.nextUint32() >>> 6;
    return (high * 0x400_0000 + low) / 0x20_0000_0000_0000;
  }

  /**
   * A number of the normal distribution with mean 0 and standard deviation 1; at most 8.6 from 0. Four
   * draws. Its last bits depend on the JavaScript engine's `Math.log` and `Math.cos`.
   *
   * Source: Box and Muller (1958). The second number of each pair is not used, so that none is hidden.
   */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    return radius * Math.cos(2 * Math.PI * this.uniform());
  }

  /**
   * An integer from 0 (included) to `boundExclusive`, every one equally likely. One draw, seldom more.
   *
   * @param boundExclusive an integer from 1 to 2^32, both included.
   * @throws MisconfigurationError (`MISCONFIGURATION`) for any other bound.
   */
  integer(boundExclusive: number): number {
    if (!isCount(boundExclusive) || boundExclusive < 1 || boundExclusive > UINT32_RANGE) {
      throw new MisconfigurationError(
        `Rng.integer: boundExclusive is ${String(boundExclusive)}, but it must be an integer from 1 to ${UINT32_RANGE}.`,
        { details: { option: 'boundExclusive', value: boundExclusive } },
      );
    }
    // Words from here on would make the small numbers more likely.
    const limit = UINT32_RANGE - (UINT32_RANGE % boundExclusive);
    let word = this.nextUint32();
    while (word >= limit) word = this.nextUint32();
    return word % boundExclusive;
  }

  /** Puts `items` into a random order, in place, every order equally likely; returns `items`. */
  shuffle<Items extends unknown[] | Uint32Array | Int32Array | Float32Array | Float64Array>(
    items: Items,
  ): Items {
    const slots: { readonly length: number; [index: number]: unknown } = items;
    for (let last = slots.length - 1; last > 0; last--) {
      const chosen = this.integer(last + 1);
      const item = slots[last];
      slots[last] = slots[chosen];
      slots[chosen] = item;
    }
    return items;
  }

  /**
   * A generator of its own stream, at its beginning. Which one depends on this generator's seed and
   * stream and on the label (`1` and `'1'` differ), not on what has been drawn: forking takes nothing
   * from this generator, and the same label gives the same stream each time.
   */
  fork(label: string | number): Rng {
    const [low, high] = words(this.#seed);
    const key = [low, (high | DERIVING) >>> 0] as const;
    let stream = this.#stream;
    for (const [first, second] of labelWords(label)) {
      const [derivedLow, derivedHigh] = philox4x32([first, second, ...stream], key);
      stream = [derivedLow, derivedHigh];
    }
    const child = new Rng(this.#seed);
    child.#stream = stream;
    return child;
  }

  /** Where this generator is. Costs nothing, draws nothing. */
  stateDict(): RngState {
    return { seed: this.#seed, stream: this.#stream, counter: this.#counter };
  }

  /**
   * Becomes the generator that {@link stateDict} was read from, its seed and stream included.
   *
   * @throws MisconfigurationError (`MISCONFIGURATION`) for anything that is not such a state.
   */
  loadStateDict(state: JsonValue): void {
    if (!isRngState(state)) {
      throw new MisconfigurationError(
        `Rng.loadStateDict: ${JSON.stringify(state)} is not the state of a generator, which is ` +
          `{seed, stream: [uint32, uint32], counter} with integers of at least 0.`,
        { details: { state } },
      );
    }
    this.#seed = state.seed;
    this.#stream = [...state.stream];
    this.#counter = state.counter;
    this.#blockNumber = -1;
  }
}

/** The lower and the upper 32 bits of an integer from 0 to 2^53 - 1. */
function words(value: number): [number, number] {
  return [value >>> 0, Math.floor(value / UINT32_RANGE)];
}

/** The label in pairs of words: JSON tells a number from a string, and holds no zero byte to pad with. */
function labelWords(label: string | number): [number, number][] {
  const text = new TextEncoder().encode(JSON.stringify(label));
  const view = new DataView(new ArrayBuffer(Math.ceil(text.length / 8) * 8));
  text.forEach((byte, i) => {
    view.setUint8(i, byte);
  });
  return Array.from({ length: view.byteLength / 8 }, (_, i) => [
    view.getUint32(i * 8, true),
    view.getUint32(i * 8 + 4, true),
  ]);
}

function isRngState(state: unknown): state is RngState {
  if (typeof state !== 'object' || state === null) return false;
  const { seed, stream, counter } = state as Partial<Record<keyof RngState, unknown>>;
  const isStream =
    Array.isArray(stream) &&
    stream.length === 2 &&
    stream.every((s) => isCount(s) && s < UINT32_RANGE);
  return isCount(seed) && isCount(counter) && isStream;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
