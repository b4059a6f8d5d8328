import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Trainer } from '../../src/index.ts';
import { mpiStrategy } from '../../src/strategies/mpi/index.ts';
import { launchOf } from '../../src/strategies/mpi/launcher.ts';

it.each([
  ['OpenMPI', { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '3' }, 'openmpi', 3, 4],
  ['MPICH', { PMI_SIZE: '2', PMI_RANK: '0' }, 'mpich', 0, 2],
  [
    'OpenMPI inside a job of MPICH',
    { OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0', PMI_SIZE: '8', PMI_RANK: '7' },
    'openmpi',
    0,
    1,
  ],
])('knows the launcher of %s by what it sets', (_name, environment, flavour, rank, worldSize) => {
  expect(launchOf(environment)).toEqual({ flavour, rank, worldSize });
});

it.each([
  [{ PMI_SIZE: '2' }, /PMI_RANK is 'undefined'/],
  [{ PMI_SIZE: 'two', PMI_RANK: '0' }, /PMI_SIZE is 'two'/],
  [{ OMPI_COMM_WORLD_SIZE: '0', OMPI_COMM_WORLD_RANK: '0' }, /OMPI_COMM_WORLD_SIZE is '0'/],
])('refuses what no launcher says: %j', (environment, message) => {
  expect(() => launchOf(environment)).toThrow(message);
});

it('without a launcher nothing of MPI is loaded, and asking for it says how to start', () => {
  expect(launchOf({ SLURM_NTASKS: '4', PATH: '/bin' })).toBeUndefined();
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
