import { HighwaterError, MisconfigurationError } from '../../errors.ts';
import { checkOptionNames } from '../../option-check.ts';
import type { Strategy } from '../strategy.ts';
import { type Launch, launchOf } from './launcher.ts';
import { broadcastJson, gatherJson } from './messages.ts';
import { MpiWorld } from './world.ts';

/** What `mpiStrategy(options)` takes. */
export interface MpiStrategyOptions {
  /**
   * Path of the shared library of MPI; the library says itself whether it is OpenMPI or MPICH. Default: that of the
   * launcher, by its usual names.
   */
  readonly library?: string | undefined;
}

/** How long a launcher is given to print why a job ends. */
const PRINTING_MS = 300;

type Standing = 'outside' | 'inside' | 'left';

/** MPI can be entered once in a process: all strategies share it. */
let standing: Standing = 'outside';
let world: MpiWorld | undefined;

/**
 * Ranks over the system's MPI, OpenMPI 4 and 5 or MPICH 4: `mpirun -np 4 node train.js`. What launcher has
 * started the process says which, and `new Trainer({strategy: 'auto'})` finds that out by itself. Needs `koffi`.
 *
 * Between `setup` and `teardown` a process that exits, or fails with an error that nobody catches, prints
 * why and ends the whole job: the others would wait for it for ever. A script that just ends leaves by itself;
 * `process.exit()` needs `await trainer.strategy.teardown()` before it.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) when no launcher has started this process; from `setup`
 * when koffi or the library is missing.
 */
export function mpiStrategy(options: MpiStrategyOptions = {}): Strategy {
  checkOptionNames('mpiStrategy', options, { library: true });
  const launch = launchOf(process.env);
  if (launch === undefined) {
    throw new MisconfigurationError(
      'mpiStrategy: no MPI launcher has started this process. Start it with mpirun or mpiexec, or leave ' +
        'strategy out to train in one process.',
    );
  }
  const { flavour, rank, worldSize } = launch;
  const isGlobalZero = rank === 0;
  const joined = (): MpiWorld => {
    if (world !== undefined && standing === 'inside') return world;
    throw new MisconfigurationError(
      standing === 'left'
        ? 'mpiStrategy: this process has left MPI, and cannot enter it again.'
        : 'mpiStrategy: call setup() first.',
    );
  };
  return {
    get name() {
      return world?.flavour ?? flavour;
    },
    rank,
    worldSize,
    isGlobalZero,
    setup: async () => {
      if (standing === 'inside') return;
      if (standing === 'left') joined();
      world = await MpiWorld.join(launch, options.library);
      standing = 'inside';
      watch(launch);
    },
    teardown: async () => {
      if (standing !== 'inside') return;
      await joined().leave();
      standing = 'left';
    },
    barrier: () => joined().meet('barrier()', 0, () => undefined),
    broadcast: (value) => broadcastJson(joined(), isGlobalZero, value),
    broadcastTensor: async (bytes) => {
      const all = joined();
      await all.meet('broadcastTensor() of # bytes', bytes.length, () => all.broadcast(bytes));
    },
    reduceGradients: async (buckets) => {
      const all = joined();
      // All are queued at once, so that no other call comes between them.
      await Promise.all(
        buckets.map((bucket) => {
          const type = bucket instanceof Float32Array ? 'float32' : 'float64';
          const call = `reduceGradients() of # ${type}` as const;
          return all.meet(call, bucket.length, () => all.reduce(bucket, 'sum'));
        }),
      );
    },
    reduceBoolean: async (value, over) => {
      const all = joined();
      const flag = Float32Array.of(value ? 1 : 0);
      const how = over === 'any' ? 'max' : 'min';
      await all.meet(`reduceBoolean('${over}')`, 0, () => all.reduce(flag, how));
      return flag[0] === 1;
    },
    reduce: async (values, how) => {
      const all = joined();
      const numbers = Float64Array.from(values);
      const call = `reduce('${how}') of length #` as const;
      await all.meet(call, numbers.length, () => all.reduce(numbers, how));
      return [...numbers];
    },
    gather: (value) => gatherJson(joined(), rank, worldSize, value),
    abort: async (error) => {
      abortNow(launch, error);
      throw error;
    },
  };
}

/** A process that ends while it is inside takes the others with it. */
function watch(launch: Launch): void {
  process.on('uncaughtExceptionMonitor', (error) => {
    // A handler of the program's own may go on.
    if (process.listenerCount('uncaughtException') === 0) abortNow(launch, error);
  });
  process.on('exit', (code) => {
    const why =
      `process.exit(${code}) before the others were told: end the script without it, or ` +
      `'await trainer.strategy.teardown()' first.`;
    abortNow(launch, new HighwaterError('STRATEGY_FAILED', why));
  });
  process.once('beforeExit', async () => {
    if (standing !== 'inside' || world === undefined) return;
    await world.leave();
    standing = 'left';
  });
}

function abortNow({ rank, worldSize }: Launch, error: unknown): void {
  if (standing !== 'inside') return;
  standing = 'left';
  console.error(`rank ${rank} of ${worldSize} ends the job:`, error);
  // MPICH's launcher ends its pipes with the job: what is in them then is never printed.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PRINTING_MS);
  world?.abort(Number(process.exitCode) || 1);
}
