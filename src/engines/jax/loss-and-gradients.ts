import { type Array as JaxArray, random, valueAndGrad } from '@jax-js/jax';
import type { PyTree } from './pytree.ts';
import { type Logged, lossOf, type StepOutput } from './step-output.ts';

/** What one training step gives. */
export interface Trained<Params> {
  readonly loss: JaxArray;
  readonly logged: Logged;
  readonly gradients: Params;
  /** Of the next step. */
  readonly key: JaxArray;
}

type Inputs<Params, Batch> = [params: Params, batch: Batch, key: JaxArray];

/** Runs a training step and differentiates its loss by the parameters; everything given is consumed. */
export function lossAndGradients<Params extends PyTree, Batch>(
  trainingStep: (...inputs: Inputs<Params, Batch>) => StepOutput,
  params: Params,
  batch: Batch,
  key: JaxArray,
): Trained<Params> {
  const keys = random.split(key);
  const next = keys.ref.slice(0);
  const given = keys.slice(1);
  const loss = (...inputs: Inputs<Params, Batch>) => lossOf(trainingStep(...inputs));
  const differentiate = valueAndGrad(loss as never, { hasAux: true }) as unknown as (
    ...inputs: Inputs<Params, Batch>
  ) => [[JaxArray, Logged], Params];
  const [[value, logged], gradients] = differentiate(params, batch, given);
  return { loss: value, logged, gradients, key: next };
}
