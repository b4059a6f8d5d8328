import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The MPI implementations that the examples know how to start. */
export const LAUNCHERS = {
  // Debian has both, under names that say which; elsewhere there is one.
  openmpi: {
    commands: ['mpirun.openmpi', 'mpirun'],
    options: ['--oversubscribe'],
    packages: 'openmpi-bin libopenmpi3',
  },
  mpich: { commands: ['mpiexec.mpich', 'mpiexec'], options: [], packages: 'mpich libmpich12' },
} as const;

export type Mpi = keyof typeof LAUNCHERS;

const launcherOf = (mpi: Mpi): string | undefined => LAUNCHERS[mpi].commands.find(isOnPath);

export function isInstalled(mpi: Mpi): boolean {
  return launcherOf(mpi) !== undefined;
}

/** The command that starts a program, given with its arguments, on several ranks of this machine. */
export function launchCommand(mpi: Mpi, ranks: number, program: readonly string[]): string[] {
  const { commands, options, packages } = LAUNCHERS[mpi];
  const command = launcherOf(mpi);
  if (command === undefined) {
    throw new Error(
      `${commands.join(' or ')} is not installed. On Debian: apt-get install ${packages}`,
    );
  }
  return [command, ...options, '-np', String(ranks), ...program];
}

/**
 * For OpenMPI: it may start ranks for root, as in a container; and at SIGTERM it waits three seconds, rather than one,
 * before it passes it on, and again before it kills, so that a save has the time.
 */
export const LAUNCH_ENV: Readonly<Record<string, string>> = {
  OMPI_ALLOW_RUN_AS_ROOT: '1',
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
  OMPI_MCA_odls_base_sigkill_timeout: '3',
};

/**
 * Starts this very script on several ranks, tells them of signals, and ends as they end. Without the launcher it says
 * what to install, and fails.
 */
export async function launchSelf(mpi: Mpi, ranks: number): Promise<void> {
  const [node = '', script = '', ...given] = process.argv;
  try {
    const program = [node, ...process.execArgv, script, ...given];
    const [command = '', ...args] = launchCommand(mpi, ranks, program);
    const child = spawn(command, args, {
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, ...LAUNCH_ENV },
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGUSR1'] as const) {
      process.on(signal, () => child.kill(signal));
    }
    const [code] = (await once(child, 'close')) as [number | null];
    process.exitCode = code ?? 1;
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}

function isOnPath(command: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
