import type { EngineState, StateEntry } from '../engines/engine.ts';
import type { Strategy } from '../strategies/strategy.ts';
import { readInto, sizeBytesOf } from './rank-state.ts';

/** Parts of the flat array begin at multiples of so many bytes: views of every dtype fit. */
const ALIGNMENT_BYTES = 8;

/**
 * Weights that no gradient moves, such as BatchNorm's moving statistics: PyTorch calls them buffers. A forward pass
 * changes them on its rank, by its own share of the batch; rank 0's are given to all. What no rank has changed since,
 * such as a frozen layer, is neither sent nor, where the engine can tell, read.
 *
 * It happens after each batch, not before the next: each forward pass finds the same either way, and so do all
 * hooks, evaluations and checkpoints in between.
 *
 * Source: PyTorch 1.13, `DistributedDataParallel` with `broadcast_buffers`.
 */
export class BufferBroadcast {
  readonly #module: EngineState;
  readonly #strategy: Strategy;
  /** Owned aliases of what every rank had after the last broadcast, by name. */
  readonly #shared = new Map<string, unknown>();

  constructor(module: EngineState, strategy: Strategy) {
    this.#module = module;
    this.#strategy = strategy;
  }

  /** Drops pending gradients of all ranks but rank 0. @param buffers the same on every rank. */
  async share(buffers: readonly StateEntry[]): Promise<void> {
    if (this.#shared.size > buffers.length) this.#forgetAllBut(buffers);
    if (buffers.length === 0) return;
    const own: number[] = [];
    for (const entry of buffers) own.push(Number(await this.#isChanged(entry)));
    const onAny = await this.#strategy.reduce(own, 'max');
    const changed = buffers.filter((_, i) => onAny[i] === 1);
    if (changed.length === 0) return;
    await this.#fromZero(changed);
    this.#keep(changed.map(({ name }) => name));
  }

  /** Frees what it keeps. */
  release(): void {
    for (const alias of this.#shared.values()) this.#module.release(alias);
    this.#shared.clear();
  }

  async #isChanged({ name, handle }: StateEntry): Promise<boolean> {
    const module = this.#module;
    if (!this.#shared.has(name)) return true;
    const shared = this.#shared.get(name);
    if (module.isUnchanged?.(handle, shared) === true) return false;
    const now = module.retain(handle);
    try {
      return Buffer.compare(await module.read(now), await module.read(shared)) !== 0;
    } finally {
      module.release(now);
    }
  }

  async #fromZero(buffers: readonly StateEntry[]): Promise<void> {
    const { places, sizeBytes } = layOut(buffers);
    const bytes = new Uint8Array(sizeBytes);
    if (this.#strategy.isGlobalZero) {
      for (const { entry, at, length } of places) {
        await readInto(bytes.subarray(at, at + length), this.#module, entry);
      }
    }
    await this.#strategy.broadcastTensor(bytes);
    if (this.#strategy.isGlobalZero) return;
    const tensors = places.map(({ entry: { group, name, dtype, shape }, at, length }) => {
      return { group, name, dtype, shape, bytes: bytes.subarray(at, at + length) };
    });
    await this.#module.load(tensors, {}, { strict: false, weightsOnly: true });
  }

  /** A weight that has got its first gradient is no buffer any more. */
  #forgetAllBut(buffers: readonly StateEntry[]): void {
    const names = new Set(buffers.map(({ name }) => name));
    for (const [name, alias] of this.#shared) {
      if (names.has(name)) continue;
      this.#module.release(alias);
      this.#shared.delete(name);
    }
  }

  /** What is loaded may be another tensor than what was there. */
  #keep(names: readonly string[]): void {
    const wanted = new Set(names);
    for (const { group, name, handle } of this.#module.state()) {
      if (group !== 'model' || !wanted.has(name)) continue;
      const alias = this.#module.retain(handle);
      if (this.#shared.has(name)) this.#module.release(this.#shared.get(name));
      this.#shared.set(name, alias);
    }
  }
}

function layOut(buffers: readonly StateEntry[]): {
  readonly places: readonly {
    readonly entry: StateEntry;
    readonly at: number;
    readonly length: number;
  }[];
  readonly sizeBytes: number;
} {
  let sizeBytes = 0;
  const places = buffers.map((entry) => {
    const length = sizeBytesOf(entry);
    const at = sizeBytes;
    sizeBytes += Math.ceil(length / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
    return { entry, at, length };
  });
  return { places, sizeBytes };
}
