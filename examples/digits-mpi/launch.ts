import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The MPI implementations that the examples know how to start. */
export const LAUNCHERS = {
  // Debian has both, under names that say which; elsewhere there is one.
  openmpi: { commands: ['mpirun.openmpi', 'mpirun'], options: ['--oversubscribe'] },
  mpich: { commands: ['mpiexec.mpich', 'mpiexec'], options: [] },
} as const;

export type Mpi = keyof typeof LAUNCHERS;

/** Whether a launcher has started this process. */
export const isLaunched: boolean =
  process.env.OMPI_COMM_WORLD_SIZE !== undefined || process.env.PMI_SIZE !== undefined;

/** The command that starts a Node program on several ranks of this machine. */
export function launchCommand(mpi: Mpi, ranks: number, program: readonly string[]): string[] {
  const { commands, options } = LAUNCHERS[mpi];
  const command = commands.find(isInstalled);
  if (command === undefined) {
    throw new Error(
      `${commands.join(' or ')} is not installed. On Debian: apt-get install ` +
        `${mpi === 'openmpi' ? 'openmpi-bin libopenmpi3' : 'mpich libmpich12'}`,
    );
  }
  return [command, ...options, '-np', String(ranks), process.execPath, ...program];
}

/** What OpenMPI wants to hear before it starts anything for root, as in a container. */
export const LAUNCH_ENV: Readonly<Record<string, string>> = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
};

/** Starts this very script on several ranks, tells them of signals, and ends as they end. */
export async function launchSelf(mpi: Mpi, ranks: number): Promise<void> {
  const [, script = '', ...given] = process.argv;
  const program = [...process.execArgv, script, ...given];
  const [command = '', ...args] = launchCommand(mpi, ranks, program);
  const child = spawn(command, args, {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...LAUNCH_ENV },
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGUSR1'] as const) {
    process.on(signal, () => child.kill(signal));
  }
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

function isInstalled(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
