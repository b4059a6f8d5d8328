import type { Array as JaxArray } from '@jax-js/jax';
import { MisconfigurationError } from '../../errors.ts';
import { namedLeaves } from './pytree.ts';

/** Metrics that a step computed, by name: scalars. */
export type Logged = Readonly<Record<string, JaxArray>>;

/** What `trainingStep` returns: the loss, a scalar; or the loss and what to log. */
export type StepOutput = JaxArray | readonly [loss: JaxArray, logged: Logged];

/** The loss and what to log, as jax-js's `hasAux` wants them. */
export function lossOf(output: StepOutput): [JaxArray, Logged] {
  if (Array.isArray(output) && output.length === 2) return [output[0], output[1]];
  if (typeof output === 'object' && output !== null && 'aval' in output) return [output, {}];
  throw new MisconfigurationError(
    'trainingStep must return the loss, a scalar array, or [loss, {name: value}]. It must not be async.',
  );
}

/** The first size of a batch's first array; 1 when there is none. */
export function batchSizeOf(inputs: unknown): number {
  const [first] = namedLeaves(inputs);
  return (first?.leaf as JaxArray | undefined)?.shape[0] || 1;
}
