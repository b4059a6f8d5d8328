import * as tf from '@tensorflow/tfjs-core';
import { MisconfigurationError } from '../../errors.ts';
import type { JsonObject } from '../../format/json.ts';
import { checkOptionNames, type OptionNames, spell } from '../../option-check.ts';
import type { LRScheduler, LRSchedulerConfig } from '../../schedulers/scheduler.ts';
import { TrainingModule } from '../../trainer/training-module.ts';
import type {
  EvaluationStage,
  GradientClipping,
  LoadedTensor,
  LoadReport,
  StateEntry,
} from '../engine.ts';
import { LoadPlan, type TensorPlace } from '../load-plan.ts';
import { clip, lossAndGradients, PendingGradients } from './gradients.ts';
import { type NamedWeight, namedWeights, trainableVariables } from './named-weights.ts';
import {
  disposeOptimizer,
  learningRateOf,
  optimizerMeta,
  optimizerTensors,
  planOptimizer,
  setLearningRate,
} from './optimizer-state.ts';
import { planWeights, stateEntry, tensorAccess } from './tensor-access.ts';
import { formatOf, tensorLike } from './tensors.ts';

/** An optimizer with a schedule of its learning rate. */
export interface ScheduledOptimizer {
  readonly optimizer: tf.Optimizer;
  readonly lrScheduler?: LRScheduler | LRSchedulerConfig;
}

const SCHEDULED_NAMES: OptionNames<ScheduledOptimizer> = { optimizer: true, lrScheduler: true };

/**
 * A module whose tensors are TensorFlow.js's. Its weights are the `tf.Variable`s, layers and models that its
 * own properties lead to, named by the way there (`fc1.kernel`). Works with every package that shares
 * `@tensorflow/tfjs-core`: tfjs, its wasm backend, tfjs-node.
 */
export abstract class TfjsModule<Batch = unknown> extends TrainingModule<Batch> {
  readonly engineName = 'tfjs';
  #optimizer: tf.Optimizer | undefined;
  readonly #pending: PendingGradients = new PendingGradients();
  /** Found once a fit has trained a batch, since layers make their weights when they are first called. */
  #settledWeights: readonly NamedWeight[] | undefined;

  /** Forward pass and loss of one batch: a scalar, or an object with a scalar `loss`. */
  abstract override trainingStep(batch: Batch, batchIdx: number): unknown;
  /** One validation batch: log what is to be monitored. */
  override validationStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  /** One test batch, for `trainer.test`. */
  override testStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  /** One prediction, for `trainer.predict`; what it returns is collected. */
  override predictStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  /** A `tf.Optimizer`, or an object with one as `optimizer`, and perhaps a schedule of its rate. */
  abstract override configureOptimizers(): tf.Optimizer | ScheduledOptimizer;

  setupOptimizers(): unknown {
    const configured = this.configureOptimizers();
    const optimizer = optimizerIn(configured, this.constructor.name);
    if (this.#optimizer !== undefined && this.#optimizer !== optimizer) {
      disposeOptimizer(this.#optimizer);
    }
    this.#optimizer = optimizer;
    this.#settledWeights = undefined;
    return configured;
  }

  override get learningRate(): number | undefined {
    return learningRateOf(this.#activeOptimizer);
  }
  override set learningRate(rate: number) {
    setLearningRate(this.#activeOptimizer, rate);
  }

  trainStep(batch: Batch, batchIdx: number, scale: number): tf.Tensor {
    const variables = trainableVariables(this.#weights());
    const { loss, gradients } = lossAndGradients(
      () => lossOf(this.trainingStep(batch, batchIdx)),
      variables,
    );
    this.#pending.add(gradients, scale);
    this.#settledWeights ??= namedWeights(this);
    return loss;
  }

  override replaceGradients(given: readonly LoadedTensor[]): void {
    const weights = new Map(this.#weights().map(({ name, variable }) => [name, variable]));
    const gradients = new Map<tf.Variable, tf.Tensor>();
    for (const { name, bytes } of given) {
      const variable = weights.get(name);
      if (variable !== undefined) gradients.set(variable, tf.keep(tensorLike(variable, bytes)));
    }
    this.#pending.replace(gradients);
  }

  optimizerStep(clipping: GradientClipping | undefined): void {
    if (clipping !== undefined) this.#pending.replace(clip(this.#pending.sums, clipping));
    // In the order of all weights, with null for those without a gradient: slots go by position.
    const named = this.#weights().map(({ variable }) => ({
      name: variable.name,
      tensor: this.#pending.sums.get(variable) ?? null,
    }));
    this.#activeOptimizer.applyGradients(named as { name: string; tensor: tf.Tensor }[]);
    this.#pending.replace(new Map());
  }

  async evalStep(
    stage: EvaluationStage,
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): Promise<unknown> {
    const engine = tf.engine();
    let kept: unknown;
    engine.startScope();
    try {
      const output = await this[`${stage}Step`]?.(batch, batchIdx, dataloaderIdx);
      // Predictions are the caller's to dispose of.
      if (stage === 'predict') kept = output;
      return output;
    } finally {
      engine.endScope(kept as tf.TensorContainer);
    }
  }

  *state(): Iterable<StateEntry> {
    const weights = this.#weights();
    for (const { name, variable } of weights) yield stateEntry('model', name, variable);
    const names = weights.map(({ name }) => name);
    const slots = this.#optimizer === undefined ? [] : optimizerTensors(this.#optimizer, names);
    for (const { name, variable } of slots) yield stateEntry('optimizer', name, variable);
    for (const { name, variable } of weights) {
      const gradient = this.#pending.sums.get(variable);
      if (gradient !== undefined) yield stateEntry('gradient', name, gradient);
    }
  }

  meta(): JsonObject {
    return { optimizer: optimizerMeta(this.#activeOptimizer) };
  }

  load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    options: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport {
    const plan = new LoadPlan(tensors);
    const weights = this.#weights();
    planWeights(plan, weights);
    if (options.weightsOnly) {
      for (const group of ['optimizer', 'gradient', 'rng'] as const) plan.ignore(group);
      plan.after(() => this.#pending.replace(new Map()));
    } else {
      planOptimizer(plan, this.#activeOptimizer, (meta.optimizer ?? {}) as JsonObject, weights);
      this.#planGradients(plan, weights);
    }
    return plan.run(this.constructor.name, options.strict);
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

  override isUnchanged(handle: unknown, retained: unknown): boolean {
    return tensorAccess.isUnchanged?.(handle, retained) === true;
  }

  release(handle: unknown): void {
    tensorAccess.release(handle);
  }

  async read(handle: unknown): Promise<Uint8Array> {
    return await tensorAccess.read(handle);
  }

  view(handle: unknown): Uint8Array | undefined {
    return tensorAccess.view?.(handle);
  }

  readScalar(handle: unknown): number | Promise<number> {
    return tensorAccess.readScalar(handle);
  }

  dispose(): void {
    if (this.#optimizer !== undefined) disposeOptimizer(this.#optimizer);
    this.#optimizer = undefined;
    for (const { variable } of namedWeights(this)) variable.dispose();
    this.#settledWeights = undefined;
    this.#pending.replace(new Map());
  }

  #weights(): readonly NamedWeight[] {
    return this.#settledWeights ?? namedWeights(this);
  }

  get #activeOptimizer(): tf.Optimizer {
    if (this.#optimizer === undefined) {
      throw new MisconfigurationError(
        `${this.constructor.name}: the optimizer is made by trainer.fit.`,
      );
    }
    return this.#optimizer;
  }

  #planGradients(plan: LoadPlan, weights: readonly NamedWeight[]): void {
    const stored = new Set(plan.remaining('gradient'));
    const taken = weights
      .filter(({ name }) => stored.has(name))
      .map(({ name, variable }) => ({
        variable,
        tensor: plan.take('gradient', name, formatOf(variable)),
      }));
    plan.after(() => {
      const gradients = new Map<tf.Variable, tf.Tensor>();
      for (const { variable, tensor } of taken) {
        if (tensor !== undefined)
          gradients.set(variable, tf.keep(tensorLike(variable, tensor.bytes)));
      }
      this.#pending.replace(gradients);
    });
  }
}

function optimizerIn(
  configured: tf.Optimizer | ScheduledOptimizer,
  moduleName: string,
): tf.Optimizer {
  if (isOptimizer(configured)) return configured;
  const owner = `${moduleName}.configureOptimizers()`;
  if (!isOptimizer(configured?.optimizer)) {
    throw new MisconfigurationError(
      `${owner} returned ${spell(configured)}, but it must return a tf.Optimizer, such as tf.train.adam(0.001), or ` +
        `{optimizer, lrScheduler}. It must not be async.`,
      { details: { configured } },
    );
  }
  checkOptionNames(owner, configured, SCHEDULED_NAMES);
  return configured.optimizer;
}

/** tfjs's own `instanceof` asks the value for its methods: it must have some. */
function isOptimizer(value: unknown): value is tf.Optimizer {
  return value !== undefined && value !== null && value instanceof tf.Optimizer;
}

function lossOf(output: unknown): tf.Tensor {
  const loss =
    output instanceof tf.Tensor ? output : (output as { loss?: unknown } | undefined)?.loss;
  if (loss instanceof tf.Tensor) return loss as tf.Tensor;
  throw new MisconfigurationError(
    'trainingStep must return the loss: a scalar tensor, or an object with one as `loss`. It must not be async.',
  );
}
