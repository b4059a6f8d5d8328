import { setTimeout as sleep } from 'node:timers/promises';
import { HighwaterError } from '../../errors.ts';
import { nextMacrotask } from '../../event-loop.ts';
import type { NumberBuffer, Reduction } from '../strategy.ts';
import { type Call, checkSame, codeOf } from './calls.ts';
import type { Flavour, Launch } from './launcher.ts';
import { MpiLibrary } from './library.ts';

/**
 * More goes in pieces of so many bytes, with a turn of the event loop between them: large enough for a thousand
 * ranks not to wait for each other's answers, and less than the 32 bits in which MPI counts.
 */
const PIECE_BYTES = 2 ** 28;

/** `MPI_THREAD_FUNNELED`: the process has several threads, and all calls come from one. */
const THREAD_FUNNELED = 1;

/** For so long a rank that waits does nothing else: the others come to the same place at about the same time. */
const EXPECTING_MS = 0.1;

/** A rank that waits for longer looks only each millisecond whether the others are there, and leaves them its core. */
const SPINNING_MS = 2;

const ROOT = 0;

/** All ranks of a job, from `MPI_Init` to `MPI_Finalize`. There is at most one in a process. */
export class MpiWorld {
  readonly #library: MpiLibrary;
  /** What this rank calls, and its negative; then the greatest of each over all ranks. MPI writes it meanwhile. */
  readonly #codes = new Float64Array(2);
  /** Room for a handle, which is an integer or a pointer, and for the answer whether it is done. */
  readonly #request = new BigInt64Array(1);
  readonly #isDone = new Int32Array(1);
  /** What was queued last. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(library: MpiLibrary) {
    this.#library = library;
  }

  get flavour(): Flavour {
    return this.#library.flavour;
  }

  /**
   * @throws HighwaterError (`STRATEGY_FAILED`) when MPI counts other ranks than the launcher: a library that
   * is not the launcher's makes every process a world of its own.
   */
  static async join(launch: Launch, libraryPath: string | undefined): Promise<MpiWorld> {
    const library = await MpiLibrary.load(launch.flavour, libraryPath);
    const { commWorld, errorsReturn } = library.handles;
    const [rank, size] = [[0], [0]];
    // A library without threads grants less, which does for calls from one.
    library.call('Init_thread', null, null, THREAD_FUNNELED, [0]);
    library.call('Comm_set_errhandler', commWorld, errorsReturn);
    library.call('Comm_rank', commWorld, rank);
    library.call('Comm_size', commWorld, size);
    if (rank[0] !== launch.rank || size[0] !== launch.worldSize) {
      throw new HighwaterError(
        'STRATEGY_FAILED',
        `The launcher says rank ${launch.rank} of ${launch.worldSize} (${launch.flavour}), MPI says rank ${rank[0]} ` +
          `of ${size[0]}: the library is not that of the launcher. Start it with mpirun of the same installation.`,
        { details: { launch, rank: rank[0], size: size[0] } },
      );
    }
    return new MpiWorld(library);
  }

  /**
   * Does something once every rank is there to do the same; one thing after the other, also when one fails. The action
   * may {@link broadcast}, {@link reduce} and {@link gather} as often as it likes: no other comes between.
   *
   * @throws HighwaterError (`STRATEGY_FAILED`) on every rank when they do not call the same.
   */
  meet<T>(call: Call, count: number, action: () => T | Promise<T>): Promise<T> {
    const next = async (): Promise<T> => {
      await this.#untilAllAreHere(codeOf(call, count));
      return await action();
    };
    const result = this.#tail.then(next, next);
    this.#tail = result.catch(() => undefined);
    return result;
  }

  /** Fills bytes with those of rank 0. */
  async broadcast(bytes: Uint8Array): Promise<void> {
    const { byte, commWorld } = this.#library.handles;
    await inPieces(bytes, (piece) =>
      this.#library.call('Bcast', piece, piece.length, byte, ROOT, commWorld),
    );
  }

  /** Reduces numbers in place. */
  async reduce(values: NumberBuffer, how: Reduction): Promise<void> {
    const { inPlace, float, double, commWorld } = this.#library.handles;
    const type = values instanceof Float32Array ? float : double;
    const operation = this.#library.handles[how];
    await inPieces(values, (piece) =>
      this.#library.call('Allreduce', inPlace, piece, piece.length, type, operation, commWorld),
    );
  }

  /** Fills a buffer that has one part of equal size for each rank; this rank's own is there already. */
  gather(parts: Uint8Array, partBytes: number): void {
    const { inPlace, byte, commWorld } = this.#library.handles;
    this.#library.call('Allgather', inPlace, 0, byte, parts, partBytes, byte, commWorld);
  }

  /** Leaves, once every other rank leaves. */
  async leave(): Promise<void> {
    await this.meet('teardown()', 0, () => this.#library.call('Finalize'));
  }

  /** Ends all ranks, whatever else is going on. */
  abort(exitCode: number): void {
    this.#library.call('Abort', this.#library.handles.commWorld, exitCode);
  }

  /**
   * While a rank waits for the others its event loop turns: saves go on and signals arrive. What MPI then does at once
   * takes no longer than the data takes to cross.
   */
  async #untilAllAreHere(code: number): Promise<void> {
    const { inPlace, double, max, commWorld, statusIgnore } = this.#library.handles;
    const [codes, request, isDone] = [this.#codes, this.#request, this.#isDone];
    // As much as a barrier costs, and it tells whether all are here for the same.
    codes.set([code, -code]);
    this.#library.call('Iallreduce', inPlace, codes, codes.length, double, max, commWorld, request);
    const began = performance.now();
    for (;;) {
      this.#library.call('Test', request, isDone, statusIgnore);
      if (isDone[0] !== 0) break;
      const waitedMs = performance.now() - began;
      if (waitedMs > EXPECTING_MS) await (waitedMs < SPINNING_MS ? nextMacrotask() : sleep(1));
    }
    const [greatest = code, negated = -code] = codes;
    checkSame(-negated, greatest);
  }
}

/** A turn of the event loop between two pieces. */
async function inPieces<Buffer extends Uint8Array | NumberBuffer>(
  buffer: Buffer,
  each: (piece: Buffer) => void,
): Promise<void> {
  const step = PIECE_BYTES / buffer.BYTES_PER_ELEMENT;
  for (let at = 0; at < buffer.length; at += step) {
    if (at > 0) await nextMacrotask();
    each(buffer.subarray(at, at + step) as Buffer);
  }
}
