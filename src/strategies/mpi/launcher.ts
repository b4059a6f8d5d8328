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

/** Where the launchers put it, and the variable by which each is known. */
const LAUNCHERS = [
  // `mpirun` of OpenMPI 4 and 5.
  {
    flavour: 'openmpi',
    sign: 'OMPI_COMM_WORLD_SIZE',
    size: 'OMPI_COMM_WORLD_SIZE',
    rank: 'OMPI_COMM_WORLD_RANK',
  },
  // `mpiexec` of MPICH 4, and `srun --mpi=pmi2`.
  { flavour: 'mpich', sign: 'PMI_SIZE', size: 'PMI_SIZE', rank: 'PMI_RANK' },
  // `srun --mpi=pmix`, which leaves it to Slurm to say how many there are.
  { flavour: 'openmpi', sign: 'PMIX_RANK', size: 'SLURM_STEP_NUM_TASKS', rank: 'PMIX_RANK' },
] as const;

/**
 * What the launcher of this process says; undefined when none has started it.
 *
 * @throws MisconfigurationError when Slurm has started several tasks without MPI: each would train by itself, and all
 * would write to one folder.
 */
export function launchOf(environment: Environment): Launch | undefined {
  const launcher = LAUNCHERS.find(({ sign }) => environment[sign] !== undefined);
  if (launcher === undefined) {
    refuseSilentTasks(environment);
    return undefined;
  }
  const { flavour, size, rank } = launcher;
  return {
    flavour,
    rank: count(rank, environment[rank], 0),
    worldSize: count(size, environment[size], 1),
  };
}

/** Slurm sets this variable in the tasks of `srun`, and not for the batch script itself, whatever its `--ntasks`. */
function refuseSilentTasks({ SLURM_STEP_NUM_TASKS: tasks }: Environment): void {
  if (tasks === undefined || !(Number(tasks) > 1)) return;
  throw new MisconfigurationError(
    `Slurm runs this as ${tasks} tasks, but without MPI: each would train by itself, as if it were alone. Start them ` +
      `with 'srun --mpi=pmix' (OpenMPI) or 'srun --mpi=pmi2' (MPICH), or with mpirun in the batch script. For ` +
      `${tasks} runs that have nothing to do with each other, give each Trainer {strategy: singleStrategy()}.`,
    { details: { name: 'SLURM_STEP_NUM_TASKS', value: tasks } },
  );
}

function count(name: string, text: string | undefined, least: number): number {
  const value = Number(text ?? Number.NaN);
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new MisconfigurationError(
    `mpiStrategy: the launcher's ${name} is '${text}', but it must be an integer of at least ${least}.`,
    { details: { name, value: text } },
  );
}
