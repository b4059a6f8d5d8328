export { type MpiStrategyOptions, mpiStrategy } from './mpi-strategy.ts';
