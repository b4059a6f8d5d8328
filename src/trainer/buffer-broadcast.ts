import type { EngineState, StateEntry } from '../engines/engine.ts';
import type { Strategy } from '../strategies/strategy.ts';
import { readInto, sizeBytesOf } from './rank-state.ts';

/** Parts of the flat array begin at multiples of so many bytes: views of every dtype fit. */
const ALIGNMENT_BYTES = 8;

/**
 * Weights that no gradient moves, such as BatchNorm's moving statistics: PyTorch calls them buffers. A forward pass
 * changes them on its rank, by its own share of the batch; rank 0's are given to all. What no rank has changed since,
 * such as a frozen layer, is not sent.
 *
 * It happens after each batch, not before the next: each forward pass finds the same either way, and so do all
 * hooks, evaluations and checkpoints in between.
 *
 * Source: PyTorch 1.13, `DistributedDataParallel` with `broadcast_buffers`.
 */
export class BufferBroadcast {
  readonly #module: EngineState;
  readonly #strategy: Strategy;
  /** What every rank had after the last broadcast, one buffer after the other. */
  #shared: Uint8Array = new Uint8Array(0);
  /** An array of the same length to read into. */
  #spare: Uint8Array = this.#shared;

  constructor(module: EngineState, strategy: Strategy) {
    this.#module = module;
    this.#strategy = strategy;
  }

  /** Drops pending gradients of all ranks but rank 0. @param buffers the same on every rank. */
  async share(buffers: readonly StateEntry[]): Promise<void> {
    if (buffers.length === 0) return;
    const { places, sizeBytes } = layOut(buffers);
    const own = this.#spare.length === sizeBytes ? this.#spare : new Uint8Array(sizeBytes);
    for (const { entry, at, length } of places) {
      await readInto(own.subarray(at, at + length), this.#module, entry);
    }
    const isChanged = Buffer.compare(own, this.#shared) !== 0;
    this.#spare = own;
    if (!(await this.#strategy.reduceBoolean(isChanged, 'any'))) return;
    await this.#strategy.broadcastTensor(own);
    this.#spare = this.#shared;
    this.#shared = own;
    if (this.#strategy.isGlobalZero) return;
    const tensors = places.map(({ entry: { group, name, dtype, shape }, at, length }) => {
      return { group, name, dtype, shape, bytes: own.subarray(at, at + length) };
    });
    await this.#module.load(tensors, {}, { strict: false, weightsOnly: true });
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
