import type * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { JsonObject } from '../../../format/json.ts';
import type { EngineState, LoadedTensor, LoadReport, StateEntry } from '../../engine.ts';
import { LoadPlan } from '../../load-plan.ts';
import { type NamedWeight, namedWeights } from '../named-weights.ts';
import { optimizerMeta, optimizerTensors, planOptimizer } from '../optimizer-state.ts';
import { planWeights, stateEntry, TensorAccess } from '../tensor-access.ts';
import { type Architecture, architectureOf } from './architecture.ts';

/**
 * A layers model and its optimizer as a checkpoint sees them. Weights are named as those of a `TfjsModule`
 * that has the model as its property `model`, so that either loads what the other saved.
 */
export class ModelState extends TensorAccess implements EngineState {
  readonly engineName = 'tfjs';
  readonly #model: LayersModel;
  #architecture: Architecture | undefined;

  constructor(model: LayersModel) {
    super();
    this.#model = model;
  }

  *state(): Iterable<StateEntry> {
    for (const { name, variable } of this.#weights()) yield stateEntry('model', name, variable);
    const { optimizer } = this;
    if (optimizer === undefined) return;
    const names = this.#trained().map(({ name }) => name);
    for (const { name, variable } of optimizerTensors(optimizer, names)) {
      yield stateEntry('optimizer', name, variable);
    }
  }

  meta(): JsonObject {
    const { optimizer } = this;
    this.#architecture ??= architectureOf(this.#model, this.#weights());
    return {
      optimizer: optimizer === undefined ? null : optimizerMeta(optimizer),
      layersModel: { ...this.#architecture },
    };
  }

  load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    options: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport {
    const plan = new LoadPlan(tensors);
    planWeights(plan, this.#weights());
    const { optimizer } = this;
    if (optimizer === undefined || options.weightsOnly) plan.ignore('optimizer');
    else planOptimizer(plan, optimizer, (meta.optimizer ?? {}) as JsonObject, this.#trained());
    return plan.run(`the model '${this.#model.name}'`, options.strict);
  }

  /** Undefined before `compile`. */
  get optimizer(): tf.Optimizer | undefined {
    return (this.#model.optimizer as tf.Optimizer | null) ?? undefined;
  }

  #weights(): readonly NamedWeight[] {
    return namedWeights({ model: this.#model });
  }

  /** In the order in which `fit` gives them to the optimizer: slots go by position. */
  #trained(): readonly NamedWeight[] {
    const byVariable = new Map(this.#weights().map((weight) => [weight.variable, weight]));
    const trained = this.#model.trainableWeights as unknown as { readonly val: tf.Variable }[];
    return trained.flatMap(({ val }) => byVariable.get(val) ?? []);
  }
}
