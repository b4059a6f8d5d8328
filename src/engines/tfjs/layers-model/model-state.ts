import type * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { JsonObject } from '../../../format/json.ts';
import type { EngineState, LoadedTensor, LoadReport, StateEntry } from '../../engine.ts';
import { LoadPlan, type TensorPlace } from '../../load-plan.ts';
import { type NamedWeight, namedWeights } from '../named-weights.ts';
import { optimizerMeta, optimizerTensors, planOptimizer } from '../optimizer-state.ts';
import { stateEntry, tensorAccess } from '../tensor-access.ts';
import { assignBytes, formatOf } from '../tensors.ts';
import { type Architecture, architectureOf } from './architecture.ts';

/**
 * A layers model and its optimizer as a checkpoint sees them. Weights are named as those of a `TfjsModule`
 * that has the model as its property `model`, so that either loads what the other saved.
 */
export class ModelState implements EngineState {
  readonly engineName = 'tfjs';
  readonly #model: LayersModel;
  #architecture: Architecture | undefined;

  constructor(model: LayersModel) {
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
    for (const { name, variable } of this.#weights()) {
      const tensor = plan.take('model', name, formatOf(variable));
      if (tensor !== undefined) plan.after(() => assignBytes(variable, tensor.bytes));
    }
    const { optimizer } = this;
    if (optimizer === undefined || options.weightsOnly) plan.ignore('optimizer');
    else planOptimizer(plan, optimizer, (meta.optimizer ?? {}) as JsonObject, this.#trained());
    return plan.run(`the model '${this.#model.name}'`, options.strict);
  }

  isTensor(value: unknown): boolean {
    return tensorAccess.isTensor(value);
  }
  describe(handle: unknown): TensorPlace {
    return tensorAccess.describe(handle);
  }
  retain(handle: unknown): unknown {
    return tensorAccess.retain(handle);
  }
  release(handle: unknown): void {
    tensorAccess.release(handle);
  }
  async read(handle: unknown): Promise<Uint8Array> {
    return await tensorAccess.read(handle);
  }
  readScalar(handle: unknown): number | Promise<number> {
    return tensorAccess.readScalar(handle);
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
