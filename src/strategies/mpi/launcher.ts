import { MisconfigurationError } from '../../errors.ts';

/** The MPI implementations that Highwater knows. */
export type Flavour = 'openmpi' | 'mpich';

/** What a launcher told the processes it has started. */
export interface Launch {
  readonly flavour: Flavour;
  readonly rank: number;
  readonly worldSize: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Where the launchers put it: `mpirun` of OpenMPI 4 and 5; `mpiexec` of MPICH 4 and Slurm's own for it. */
const VARIABLES = [
  { flavour: 'openmpi', size: 'OMPI_COMM_WORLD_SIZE', rank: 'OMPI_COMM_WORLD_RANK' },
  { flavour: 'mpich', size: 'PMI_SIZE', rank: 'PMI_RANK' },
] as const;

/** What the launcher of this process says; undefined when none has started it. */
export function launchOf(environment: Environment): Launch | undefined {
  for (const { flavour, size, rank } of VARIABLES) {
    if (environment[size] === undefined) continue;
    return {
      flavour,
      rank: count(rank, environment[rank], 0),
      worldSize: count(size, environment[size], 1),
    };
  }
  return undefined;
}

function count(name: string, text: string | undefined, least: number): number {
  const value = Number(text ?? Number.NaN);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new MisconfigurationError(
    `mpiStrategy: the launcher's ${name} is '${text}', but it must be an integer of at least ${least}.`,
    { details: { name, value: text } },
  );
}
