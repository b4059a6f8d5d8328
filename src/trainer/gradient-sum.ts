import type { LoadedTensor, StateEntry } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { DType } from '../format/dtype.ts';
import type { NumberBuffer, Strategy } from '../strategies/strategy.ts';
import type { TrainingModule } from './training-module.ts';

type Reducible = Extract<DType, 'F32' | 'F64'>;

interface Place {
  readonly entry: StateEntry;
  readonly at: number;
  readonly length: number;
}

/**
 * Adds up the gradients of all ranks after each batch. Each rank has weighted its own by its share of the batch,
 * so the sum is the gradient of the whole batch, as one process has it.
 *
 * Between two optimizer steps the sum so far lies with rank 0 alone: the next sum counts it once, and what a
 * checkpoint holds is that of all ranks.
 */
export class GradientSum {
  readonly #module: TrainingModule;
  readonly #strategy: Strategy;
  readonly #weightCount: number;
  /** One for each dtype, used again for every batch. */
  readonly #buckets = new Map<Reducible, NumberBuffer>();

  /** @throws MisconfigurationError for an engine that takes no gradients. */
  constructor(module: TrainingModule, strategy: Strategy) {
    if (module.replaceGradients === undefined) {
      throw new MisconfigurationError(
        `${module.constructor.name} (engine '${module.engineName}') has no replaceGradients, so it trains in one ` +
          `process only. See docs/guides/own-engine.md.`,
      );
    }
    this.#module = module;
    this.#strategy = strategy;
    this.#weightCount = weightsOf(module).length;
  }

  /** @param isComplete an optimizer step follows on every rank. */
  async add(isComplete: boolean): Promise<void> {
    const module = this.#module;
    const weights = weightsOf(module);
    if (weights.length !== this.#weightCount) {
      throw new MisconfigurationError(
        `${module.constructor.name} had ${this.#weightCount} weights when training began, and now has ` +
          `${weights.length}. With several ranks all must be there from the start: build layers in the ` +
          `constructor or in setup().`,
      );
    }
    const own = new Map<string, StateEntry>();
    for (const entry of module.state()) if (entry.group === 'gradient') own.set(entry.name, entry);
    // A weight may have a gradient on some ranks only.
    const isPresent = weights.map(({ name }) => (own.has(name) ? 1 : 0));
    const present = await this.#strategy.reduce(isPresent, 'max');
    const places = placesOf(weights.filter((_, i) => present[i] === 1));
    for (const [dtype, list] of places) await this.#fill(this.#bucket(dtype, list), list, own);
    const buckets = [...places].map(([dtype, list]) => this.#bucket(dtype, list));
    await this.#strategy.reduceGradients(buckets);
    const isKept = isComplete || this.#strategy.isGlobalZero;
    await module.replaceGradients?.(isKept ? this.#sums(places) : []);
  }

  async #fill(
    bucket: NumberBuffer,
    places: readonly Place[],
    own: ReadonlyMap<string, StateEntry>,
  ): Promise<void> {
    for (const { entry, at, length } of places) {
      const gradient = own.get(entry.name);
      if (gradient === undefined) {
        bucket.fill(0, at, at + length);
        continue;
      }
      const owned = this.#module.retain(gradient.handle);
      bytesOf(bucket, at, length).set(await this.#module.read(owned));
      this.#module.release(owned);
    }
  }

  #sums(places: ReadonlyMap<Reducible, readonly Place[]>): readonly LoadedTensor[] {
    return [...places].flatMap(([dtype, list]) =>
      list.map(({ entry: { name, shape }, at, length }) => {
        const bytes = bytesOf(this.#bucket(dtype, list), at, length);
        return { group: 'gradient' as const, name, dtype, shape, bytes };
      }),
    );
  }

  #bucket(dtype: Reducible, places: readonly Place[]): NumberBuffer {
    const { at, length } = places.at(-1) ?? { at: 0, length: 0 };
    const made = this.#buckets.get(dtype);
    if (made?.length === at + length) return made;
    const bucket = dtype === 'F32' ? new Float32Array(at + length) : new Float64Array(at + length);
    this.#buckets.set(dtype, bucket);
    return bucket;
  }
}

function weightsOf(module: TrainingModule): readonly StateEntry[] {
  return [...module.state()].filter(({ group }) => group === 'model');
}

/** Where each gradient lies in the bucket of its dtype. */
function placesOf(weights: readonly StateEntry[]): ReadonlyMap<Reducible, readonly Place[]> {
  const places = new Map<Reducible, Place[]>();
  for (const entry of weights) {
    const { dtype, name, shape } = entry;
    if (dtype !== 'F32' && dtype !== 'F64') {
      throw new MisconfigurationError(
        `The gradient of '${name}' is ${dtype}, but ranks add up F32 and F64 only.`,
        { details: { name, dtype } },
      );
    }
    const list = places.get(dtype) ?? [];
    places.set(dtype, list);
    const before = list.at(-1);
    const at = before === undefined ? 0 : before.at + before.length;
    list.push({ entry, at, length: shape.reduce((product, size) => product * size, 1) });
  }
  return places;
}

function bytesOf(bucket: NumberBuffer, at: number, length: number): Uint8Array {
  const { BYTES_PER_ELEMENT: size, buffer, byteOffset } = bucket;
  return new Uint8Array(buffer, byteOffset + at * size, length * size);
}
