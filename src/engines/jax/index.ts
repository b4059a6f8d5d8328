export { JaxModule, type Logged, type StepOutput } from './jax-module.ts';
export type { JaxOptimizer, ScaledOptimizer } from './optimizer.ts';
export type { PyTree } from './pytree.ts';
