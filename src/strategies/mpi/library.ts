import { HighwaterError, MisconfigurationError } from '../../errors.ts';
import { BINARIES, type Handles } from './handles.ts';
import type { Flavour } from './launcher.ts';

type Koffi = typeof import('koffi');
type Value = number | bigint | null | ArrayBufferView | number[];

type Binding = (...args: readonly Value[]) => number;

/** What is called, by the name behind `MPI_`; `H` is a handle. */
const SIGNATURES = {
  Init_thread: ['void *', 'void *', 'int', 'int *'],
  Comm_rank: ['H', 'int *'],
  Comm_size: ['H', 'int *'],
  Comm_set_errhandler: ['H', 'H'],
  Iallreduce: ['intptr', 'void *', 'int', 'H', 'H', 'H', 'void *'],
  Test: ['void *', 'void *', 'intptr'],
  Bcast: ['void *', 'int', 'H', 'int', 'H'],
  Allreduce: ['intptr', 'void *', 'int', 'H', 'H', 'H'],
  Allgather: ['intptr', 'int', 'H', 'void *', 'int', 'H', 'H'],
  Error_string: ['int', 'void *', 'int *'],
  Finalize: [],
  Abort: ['H', 'int'],
} as const;

type FunctionName = keyof typeof SIGNATURES;

/** MPICH needs more stack than koffi gives a call. */
const STACK_BYTES = 8 * 2 ** 20;

/** The longest message of MPI_Error_string: 512 bytes in MPICH, 256 in OpenMPI. */
const MESSAGE_BYTES = 1024;

/** The system's MPI, called directly. */
export class MpiLibrary {
  readonly flavour: Flavour;
  readonly handles: Handles;
  readonly #bindings: Readonly<Record<FunctionName, Binding>>;

  private constructor(
    flavour: Flavour,
    handles: Handles,
    bindings: Readonly<Record<FunctionName, Binding>>,
  ) {
    this.flavour = flavour;
    this.handles = handles;
    this.#bindings = bindings;
  }

  /**
   * Loads it. @throws MisconfigurationError when koffi or the library is not there, saying what to install, and
   * when it is no MPI.
   *
   * @param launcher the flavour of the launcher, by whose usual names it is looked for.
   * @param path of the shared library, instead of those names; it says itself which flavour it is.
   */
  static async load(launcher: Flavour, path: string | undefined): Promise<MpiLibrary> {
    const koffi = await importKoffi();
    makeRoom(koffi);
    // UCX would catch SIGSEGV, which WebAssembly needs for its own traps.
    process.env.UCX_ERROR_SIGNALS ??= '';
    // It also patches brk and munmap while V8's threads may be inside: now and then a page of the heap was gone.
    process.env.UCX_MEM_EVENTS ??= 'n';
    const library = openLibrary(koffi, launcher, path);
    const flavour = flavourOf(library);
    const { handleType, handles } = BINARIES[flavour];
    const bind = (name: FunctionName): Binding =>
      library.func(
        `MPI_${name}`,
        'int',
        SIGNATURES[name].map((type) => {
          if (type === 'H') return handleType;
          return type === 'int *' ? koffi.out('int *') : type;
        }),
      );
    const bindings = Object.fromEntries(
      (Object.keys(SIGNATURES) as FunctionName[]).map((name) => [name, bind(name)]),
    ) as Record<FunctionName, Binding>;
    const addressOf = (symbol: string): bigint => library.symbol(symbol) as bigint;
    return new MpiLibrary(flavour, handles(addressOf), bindings);
  }

  /**
   * Calls a function, and returns when it has. On this thread, so that a rank has one thread that works or waits:
   * another would have to be woken, and fight with this one for the core that a launcher may have bound both to.
   *
   * @throws HighwaterError (`STRATEGY_FAILED`) with MPI's message.
   */
  call(name: FunctionName, ...args: readonly Value[]): void {
    const code = this.#bindings[name](...args);
    if (code !== 0) throw this.#failure(name, code);
  }

  #failure(name: FunctionName, code: number): HighwaterError {
    const bytes = new Uint8Array(MESSAGE_BYTES);
    const length = [0];
    this.#bindings.Error_string(code, bytes, length);
    const message = new TextDecoder().decode(bytes.subarray(0, length[0]));
    return new HighwaterError(
      'STRATEGY_FAILED',
      `MPI_${name} (${this.flavour}) failed: ${message}`,
      {
        details: { function: `MPI_${name}`, code },
      },
    );
  }
}

async function importKoffi(): Promise<Koffi> {
  try {
    return await import('koffi');
  } catch (cause) {
    throw new MisconfigurationError(
      'highwater/mpi calls MPI through koffi, which cannot be loaded: npm install koffi',
      { cause },
    );
  }
}

/** Can be done only before the first library is loaded. */
function makeRoom(koffi: Koffi): void {
  if ((koffi.config().sync_stack_size ?? 0) >= STACK_BYTES) return;
  try {
    koffi.config({ sync_stack_size: STACK_BYTES });
  } catch (cause) {
    throw new MisconfigurationError(
      'mpiStrategy: this program has loaded a library with koffi already, and MPI needs more stack. Call ' +
        `koffi.config({ sync_stack_size: ${STACK_BYTES} }) before that.`,
      { cause },
    );
  }
}

type Library = ReturnType<Koffi['load']>;

/** Handles of another flavour than the library's would end the process. */
function flavourOf(library: Library): Flavour {
  return has(library, 'ompi_mpi_comm_world') ? 'openmpi' : 'mpich';
}

function has(library: Library, symbol: string): boolean {
  try {
    library.symbol(symbol);
    return true;
  } catch {
    return false;
  }
}

function openLibrary(koffi: Koffi, flavour: Flavour, path: string | undefined): Library {
  const { libraries, packages } = BINARIES[flavour];
  const names = path === undefined ? libraries : [path];
  let cause: Error | undefined;
  for (const name of names) {
    try {
      // OpenMPI's plugins look for its symbols among the global ones.
      const library = koffi.load(name, { global: true, lazy: true });
      if (has(library, 'MPI_Init_thread')) return library;
      cause ??= new Error(`'${name}' is no MPI library: it has no MPI_Init_thread`);
    } catch (error) {
      cause ??= error as Error;
    }
  }
  throw new MisconfigurationError(
    `mpiStrategy: a launcher of ${flavour} has started this process, but its library (${names.join(', ')}) cannot ` +
      `be used: ${cause?.message}. Install it (on Debian: apt-get install ${packages}), or give mpiStrategy({library}).`,
    { cause, details: { flavour, names } },
  );
}
