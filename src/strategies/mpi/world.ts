import { HighwaterError } from '../../errors.ts';
import type { NumberBuffer, Reduction } from '../strategy.ts';
import type { Launch } from './launcher.ts';
import { MpiLibrary } from './library.ts';

/** MPI counts in 32 bits: more goes in pieces of so many bytes. */
const PIECE_BYTES = 2 ** 30;

/** `MPI_THREAD_SERIALIZED`: calls come from several threads, never two at a time. */
const THREAD_SERIALIZED = 2;

const ROOT = 0;

/** All ranks of a job, from `MPI_Init` to `MPI_Finalize`. There is at most one in a process. */
export class MpiWorld {
  readonly #library: MpiLibrary;
  /** The call that was queued last. */
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(library: MpiLibrary) {
    this.#library = library;
  }

  /**
   * @throws HighwaterError (`STRATEGY_FAILED`) when MPI counts other ranks than the launcher: a library that
   * is not the launcher's makes every process a world of its own.
   */
  static async join(launch: Launch, libraryPath: string | undefined): Promise<MpiWorld> {
    const library = await MpiLibrary.load(launch.flavour, libraryPath);
    const { commWorld, errorsReturn } = library.handles;
    const [provided, rank, size] = [[0], [0], [0]];
    // Not on a thread of its own: whoever calls MPI_Init is its main thread.
    library.callNow('Init_thread', null, null, THREAD_SERIALIZED, provided);
    library.callNow('Comm_set_errhandler', commWorld, errorsReturn);
    library.callNow('Comm_rank', commWorld, rank);
    library.callNow('Comm_size', commWorld, size);
    if (rank[0] !== launch.rank || size[0] !== launch.worldSize) {
      throw new HighwaterError(
        'STRATEGY_FAILED',
        `The launcher says rank ${launch.rank} of ${launch.worldSize} (${launch.flavour}), MPI says rank ${rank[0]} ` +
          `of ${size[0]}: the library is not that of the launcher. Start it with mpirun of the same installation.`,
        { details: { launch, rank: rank[0], size: size[0] } },
      );
    }
    if ((provided[0] ?? 0) < THREAD_SERIALIZED) {
      throw new HighwaterError(
        'STRATEGY_FAILED',
        `This ${launch.flavour} was built without threads (level ${provided[0]}): MPI_THREAD_SERIALIZED is needed.`,
      );
    }
    return new MpiWorld(library);
  }

  async barrier(): Promise<void> {
    await this.#next(() => this.#library.call('Barrier', this.#library.handles.commWorld));
  }

  /** Fills bytes with those of rank 0. */
  async broadcast(bytes: Uint8Array): Promise<void> {
    const { byte, commWorld } = this.#library.handles;
    await this.#next(async () => {
      for (const piece of pieces(bytes)) {
        await this.#library.call('Bcast', piece, piece.length, byte, ROOT, commWorld);
      }
    });
  }

  /** Reduces numbers in place. */
  async reduce(values: NumberBuffer, how: Reduction): Promise<void> {
    const { inPlace, float, double, commWorld } = this.#library.handles;
    const type = values instanceof Float32Array ? float : double;
    const operation = this.#library.handles[how];
    await this.#next(async () => {
      for (const piece of pieces(values)) {
        const { length } = piece;
        await this.#library.call('Allreduce', inPlace, piece, length, type, operation, commWorld);
      }
    });
  }

  /** Fills a buffer that has one part of equal size for each rank; this rank's own is there already. */
  async gather(parts: Uint8Array, partBytes: number): Promise<void> {
    const { inPlace, byte, commWorld } = this.#library.handles;
    await this.#next(() =>
      this.#library.call('Allgather', inPlace, 0, byte, parts, partBytes, byte, commWorld),
    );
  }

  /** Leaves, once every other rank leaves. */
  async leave(): Promise<void> {
    await this.#next(() => this.#library.call('Finalize'));
  }

  /** Ends all ranks, whatever else is going on. */
  abort(exitCode: number): void {
    this.#library.callNow('Abort', this.#library.handles.commWorld, exitCode);
  }

  /** One call after the other, also when one fails. */
  #next<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(call, call);
    this.#tail = result.catch(() => undefined);
    return result;
  }
}

function* pieces<Buffer extends Uint8Array | NumberBuffer>(buffer: Buffer): Iterable<Buffer> {
  const step = PIECE_BYTES / buffer.BYTES_PER_ELEMENT;
  for (let at = 0; at < buffer.length; at += step) {
    yield buffer.subarray(at, at + step) as Buffer;
  }
}
