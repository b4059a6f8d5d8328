import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Trainer } from '../../src/index.ts';
import { mpiStrategy } from '../../src/strategies/mpi/index.ts';
import { launchOf } from '../../src/strategies/mpi/launcher.ts';

/** What Slurm 22.05 sets in the tasks of `srun -n 2`, and for a batch script of `sbatch -n 2`. */
const BATCH = { SLURM_JOB_ID: '4', SLURM_NTASKS: '2', SLURM_NPROCS: '2', SLURM_PROCID: '0' };
const STEP = { ...BATCH, SLURM_PROCID: '1', SLURM_STEP_ID: '0', SLURM_STEP_NUM_TASKS: '2' };
const PMIX = { PMIX_RANK: '1', PMIX_NAMESPACE: 'slurm.pmix.3.0' };

it.each([
  ['OpenMPI 4', { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '3' }, 'openmpi', 3, 4],
  [
    'OpenMPI, which is PMIx too',
    { OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '1', ...PMIX },
    'openmpi',
    1,
    2,
  ],
  ['MPICH', { PMI_SIZE: '2', PMI_RANK: '0' }, 'mpich', 0, 2],
  [
    'OpenMPI inside a job of MPICH',
    { OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0', PMI_SIZE: '8', PMI_RANK: '7' },
    'openmpi',
    0,
    1,
  ],
  ['srun --mpi=pmi2', { ...STEP, PMI_SIZE: '2', PMI_RANK: '1' }, 'mpich', 1, 2],
  ['srun --mpi=pmix', { ...STEP, ...PMIX }, 'openmpi', 1, 2],
  [
    'srun --mpi=pmix with one task',
    { ...STEP, ...PMIX, PMIX_RANK: '0', SLURM_STEP_NUM_TASKS: '1' },
    'openmpi',
    0,
    1,
  ],
  [
    'mpirun in a batch script',
    { ...BATCH, OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '1' },
    'openmpi',
    1,
    2,
  ],
  [
    'mpiexec of MPICH in a batch script, which starts its helpers by srun',
    { ...STEP, SLURM_STEP_NUM_TASKS: '3', PMI_SIZE: '6', PMI_RANK: '5' },
    'mpich',
    5,
    6,
  ],
])('knows the launcher of %s by what it sets', (_name, environment, flavour, rank, worldSize) => {
  expect(launchOf(environment)).toEqual({ flavour, rank, worldSize });
});

it.each([
  ['a shell', { PATH: '/bin' }],
  ['a batch script of two tasks', BATCH],
  ['a shell of salloc', { SLURM_JOB_ID: '4', SLURM_NTASKS: '4', SLURM_NNODES: '2' }],
  ['srun with one task in a job of two', { ...STEP, SLURM_STEP_NUM_TASKS: '1' }],
])('sees no launcher in %s', (_name, environment) => {
  expect(launchOf(environment)).toBeUndefined();
});

it('refuses tasks of srun that know nothing of each other, and says what to do', () => {
  expect(() => launchOf(STEP)).toThrow(
    expect.objectContaining({
      code: 'MISCONFIGURATION',
      message: expect.stringMatching(/2 tasks.*--mpi=pmix.*--mpi=pmi2.*mpirun.*singleStrategy/),
    }),
  );
});

it.each([
  [{ PMI_SIZE: '2' }, /PMI_RANK is 'undefined'/],
  [{ PMI_SIZE: 'two', PMI_RANK: '0' }, /PMI_SIZE is 'two'/],
  [{ OMPI_COMM_WORLD_SIZE: '0', OMPI_COMM_WORLD_RANK: '0' }, /OMPI_COMM_WORLD_SIZE is '0'/],
  [PMIX, /SLURM_STEP_NUM_TASKS is 'undefined'/],
])('refuses what no launcher says: %j', (environment, message) => {
  expect(() => launchOf(environment)).toThrow(message);
});

it('without a launcher nothing of MPI is loaded, and asking for it says how to start', () => {
  expect(() => mpiStrategy()).toThrow(/Start it with mpirun or mpiexec/);
  const { strategy } = new Trainer({ logger: false });
  expect(strategy.name).toBe('single');
});

it.runIf(process.platform === 'linux')('and the process holds no library of it', async () => {
  const { ModelCheckpoint } = await import('../../src/index.ts');
  void new Trainer({ callbacks: new ModelCheckpoint(), logger: false });
  const maps = readFileSync('/proc/self/maps', 'utf8');
  expect(maps).toContain('node');
  expect(maps).not.toMatch(/koffi|libmpi/);
});
