export { JaxModule } from './jax-module.ts';
export type { JaxOptimizer, ScaledOptimizer } from './optimizer.ts';
export type { PyTree } from './pytree.ts';
export type { Logged, StepOutput } from './step-output.ts';
