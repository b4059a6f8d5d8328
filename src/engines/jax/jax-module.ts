import { blockUntilReady, Array as JaxArray, random } from '@jax-js/jax';
import { MisconfigurationError } from '../../errors.ts';
import type { JsonObject } from '../../format/json.ts';
import type { LogOptions } from '../../trainer/log-options.ts';
import { TrainingModule } from '../../trainer/training-module.ts';
import type {
  EvaluationStage,
  GradientClipping,
  LoadedTensor,
  LoadReport,
  StateEntry,
  StateGroup,
} from '../engine.ts';
import { LoadPlan, type TensorPlace } from '../load-plan.ts';
import { bytesOf, formatOf, toArrays } from './arrays.ts';
import { Compiled, CompiledSteps } from './compiled.ts';
import { lossAndGradients } from './loss-and-gradients.ts';
import {
  added,
  applyUpdates,
  asConfigured,
  clip,
  type JaxOptimizer,
  type ScaledOptimizer,
  scaled,
} from './optimizer.ts';
import { free, type PyTree } from './pytree.ts';
import { batchSizeOf, type Logged, type StepOutput } from './step-output.ts';
import { planTree, storedLeaves } from './stored-tree.ts';

/**
 * A module whose tensors are jax-js's. Its parameters are a tree of arrays, named by the way to them
 * (`fc1.kernel`), and so is its optimizer's state. Steps are pure functions of the parameters and a batch,
 * compiled by `jit`: what they log they return.
 *
 * jax-js moves arrays: using one consumes it. A step owns all that it is given; take `x.ref` to use `x` twice.
 *
 * @typeParam Params a tree of float arrays, all of which are trained.
 * @typeParam Batch what the steps are given: see {@link toArrays}.
 */
export abstract class JaxModule<
  Params extends PyTree = PyTree,
  Batch = PyTree,
> extends TrainingModule<unknown> {
  readonly engineName = 'jax';
  /**
   * Today's parameters: set them in the class, `params = {…}`; every optimizer step puts new ones in their
   * place. Owned by the module: take `.ref` of what you use of them outside the steps.
   */
  abstract params: Params;
  /**
   * Whether steps are compiled. False runs them as they are: slower, but a debugger can look inside. The bits
   * differ, so a resumed run goes on as it was saved.
   */
  readonly jit: boolean = true;
  /** Seed of the keys that training steps get, a 32-bit unsigned integer. */
  readonly seed: number = 0;

  #optimizer: JaxOptimizer<Params> | undefined;
  #optimizerState: PyTree = [];
  #learningRate: number | undefined;
  #pending: Params | undefined;
  #key: JaxArray | undefined;
  #isCompiled: boolean | undefined;
  readonly #steps = new CompiledSteps();

  // What users write ---------------------------------------------------------------------------------

  /**
   * Forward pass and loss of one batch.
   *
   * @param key a PRNG key, `[2] uint32`, another one for each step: for dropout and the like. The state it
   * comes from is part of every checkpoint.
   */
  abstract override trainingStep(params: Params, batch: Batch, key: JaxArray): StepOutput;
  /** Metrics of one validation batch; their means over the epoch are logged. */
  override validationStep?(params: Params, batch: Batch): Logged;
  /** Metrics of one test batch; their means are logged. */
  override testStep?(params: Params, batch: Batch): Logged;
  /** One prediction; the caller owns the arrays it returns. */
  override predictStep?(params: Params, batch: Batch): PyTree;
  /** An optimizer of optax's shape, or one with a learning rate that can change: see {@link learningRate}. */
  abstract override configureOptimizers(): JaxOptimizer<Params> | ScaledOptimizer<Params>;

  /** How a metric that a step returned is logged. Default: weighted by the size of the batch's first array. */
  logOptions(_name: string, batchSize: number): LogOptions {
    return { batchSize };
  }

  /**
   * What the steps get for a batch of the data source. Default: typed arrays become 1-D arrays (`x.reshape`
   * gives them their shape), numbers scalars, in the same arrays and objects; jax arrays stay the caller's.
   */
  toArrays(batch: unknown): Batch {
    return toArrays(batch) as Batch;
  }

  /**
   * The rate of an optimizer that was given with one, from the next step on; part of every checkpoint.
   * Undefined when the optimizer has its own.
   *
   * @throws MisconfigurationError when it is set without one, or to something that is not a finite number.
   */
  override get learningRate(): number | undefined {
    return this.#learningRate;
  }
  override set learningRate(rate: number) {
    if (this.#learningRate === undefined || !Number.isFinite(rate)) {
      throw new MisconfigurationError(
        `${this.constructor.name}: learningRate cannot be set to ${rate}. It must be a finite number, and ` +
          `configureOptimizers() must return {optimizer, learningRate}.`,
      );
    }
    this.#learningRate = rate;
  }

  override log(name: string, value: unknown, options: LogOptions = {}): void {
    // A value inside a compiled step has no number yet.
    if (typeof value === 'object' && value !== null && 'aval' in value && !this.isTensor(value)) {
      throw new MisconfigurationError(
        `log('${name}'): inside a step of a JaxModule values are traced. Return them: ` +
          `[loss, {'${name}': value}] from trainingStep, {'${name}': value} from validationStep.`,
      );
    }
    super.log(name, value, options);
  }

  // Engine -------------------------------------------------------------------------------------------

  setupOptimizers(): unknown {
    const configured = this.configureOptimizers();
    const { optimizer, learningRate } = asConfigured(this.constructor.name, configured);
    this.#steps.forget('update');
    const init = new Compiled((params: Params) => optimizer.init(params), false);
    const state = init.call(this.params);
    free(this.#optimizerState);
    this.#optimizer = optimizer;
    // A count may be given as a plain number.
    this.#optimizerState = toArrays(state) as PyTree;
    free(state);
    this.#learningRate = learningRate;
    return configured;
  }

  async trainStep(batch: unknown, _batchIdx: number, scale: number): Promise<JaxArray> {
    const step = this.#compile('train', (params: Params, inputs: Batch, key: JaxArray) =>
      lossAndGradients((...given) => this.trainingStep(...given), params, inputs, key),
    );
    const inputs = this.toArrays(batch);
    try {
      const trained = step.call(this.params, inputs, this.#currentKey);
      // jax-js is lazy: what nobody asks for would pile up.
      await blockUntilReady(trained as unknown as PyTree);
      try {
        this.#logAll(trained.logged, inputs);
      } catch (error) {
        free([trained.loss, trained.gradients, trained.key]);
        throw error;
      } finally {
        free(trained.logged);
      }
      free(this.#key);
      this.#key = trained.key;
      this.#accumulate(trained.gradients, scale);
      if (scale !== 1) await blockUntilReady(this.#pending as PyTree);
      return trained.loss;
    } finally {
      free(inputs);
    }
  }

  override replaceGradients(gradients: readonly LoadedTensor[]): void {
    free(this.#pending ?? []);
    this.#pending = undefined;
    if (gradients.length === 0) return;
    const plan = new LoadPlan(gradients);
    planTree(plan, 'gradient', this.params, (pending) => {
      this.#pending = pending;
    });
    plan.run(this.constructor.name, true);
  }

  async optimizerStep(clipping: GradientClipping | undefined): Promise<void> {
    const optimizer = this.#optimizer;
    if (optimizer === undefined) {
      throw new MisconfigurationError(
        `${this.constructor.name}: the optimizer is made by trainer.fit.`,
      );
    }
    const gradients = this.#pending;
    if (gradients === undefined) return;
    const how = clipping === undefined ? '' : `${clipping.algorithm} ${clipping.value}`;
    const update = this.#compile(
      `update ${how}`,
      (given: Params, state: PyTree, params: Params, ...rate: JaxArray[]) => {
        const clipped = clipping === undefined ? given : clip(given, clipping);
        return applyUpdates(optimizer, clipped, state, params, rate[0]);
      },
    );
    // The rate is an argument: a number would be compiled in.
    const rates =
      this.#learningRate === undefined ? [] : [toArrays(this.#learningRate) as JaxArray];
    try {
      const next = update.call(gradients, this.#optimizerState, this.params, ...rates);
      free([this.params, this.#optimizerState, gradients]);
      this.params = next.params;
      this.#optimizerState = next.state;
      this.#pending = undefined;
    } finally {
      free(rates);
    }
    await blockUntilReady([this.params, this.#optimizerState] as PyTree);
  }

  async evalStep(stage: EvaluationStage, batch: unknown): Promise<unknown> {
    const body = this[`${stage}Step`];
    if (body === undefined) return undefined;
    const step = this.#compile(stage, (params: Params, inputs: Batch) =>
      body.call(this, params, inputs),
    );
    const inputs = this.toArrays(batch);
    try {
      const output = step.call(this.params, inputs) as PyTree;
      await blockUntilReady(output);
      if (stage === 'predict') return output;
      try {
        this.#logAll(output as Record<string, JaxArray>, inputs);
      } finally {
        free(output);
      }
      return undefined;
    } finally {
      free(inputs);
    }
  }

  *state(): Iterable<StateEntry> {
    for (const { group, name, handle } of this.#places()) {
      const { dtype, shape } = formatOf(handle, `'${name}' (${group})`);
      yield { group, name, dtype, shape, handle };
    }
  }

  meta(): JsonObject {
    return { learningRate: this.#learningRate ?? null, jit: this.#runsCompiled };
  }

  load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    options: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport {
    const plan = new LoadPlan(tensors);
    planTree(plan, 'model', this.params, (params) => {
      this.params = params;
    });
    plan.after(() => {
      free(this.#pending);
      this.#pending = undefined;
    });
    if (options.weightsOnly) {
      for (const group of ['optimizer', 'gradient', 'rng'] as const) plan.ignore(group);
    } else {
      planTree(plan, 'optimizer', this.#optimizerState, (state) => {
        this.#optimizerState = state;
      });
      planTree(plan, 'rng', { key: this.#currentKey }, ({ key }) => {
        this.#key = key;
      });
      if (plan.remaining('gradient').length > 0) {
        planTree(plan, 'gradient', this.params, (pending) => {
          this.#pending = pending;
        });
      }
      plan.after(() => this.#restoreMeta(meta));
    }
    return plan.run(this.constructor.name, options.strict);
  }

  isTensor(value: unknown): boolean {
    return value instanceof JaxArray;
  }

  describe(handle: unknown): TensorPlace {
    return formatOf(handle as JaxArray);
  }

  retain(handle: unknown): JaxArray {
    return (handle as JaxArray).ref;
  }

  override isUnchanged(handle: unknown, retained: unknown): boolean {
    // An array never changes, and a reference is the array itself.
    return handle === retained;
  }

  release(handle: unknown): void {
    if (handle instanceof JaxArray) handle.dispose();
  }

  async read(handle: unknown): Promise<Uint8Array> {
    return await bytesOf(handle as JaxArray);
  }

  readScalar(handle: unknown): number | Promise<number> {
    if (typeof handle === 'number') return handle;
    const array = handle as JaxArray;
    // A GPU would make everything wait; here the steps have settled what they logged.
    const isHere = array.device === 'wasm' || array.device === 'cpu';
    return isHere ? firstOf(array.ref.dataSync()) : array.ref.data().then(firstOf);
  }

  dispose(): void {
    free([this.params, this.#optimizerState, this.#pending ?? [], this.#key ?? []]);
    this.#optimizerState = [];
    this.#pending = undefined;
    this.#key = undefined;
    this.#optimizer = undefined;
    this.#steps.forget('');
  }

  // --------------------------------------------------------------------------------------------------

  get #currentKey(): JaxArray {
    this.#key ??= random.key(this.seed);
    return this.#key;
  }

  get #runsCompiled(): boolean {
    return this.#isCompiled ?? this.jit;
  }

  /** Takes ownership of the gradients. */
  #accumulate(gradients: Params, scale: number): void {
    const weighted = scale === 1 ? gradients : scaled(gradients, toArrays(scale) as JaxArray);
    this.#pending = this.#pending === undefined ? weighted : added(this.#pending, weighted);
  }

  #logAll(logged: Record<string, JaxArray> | undefined, inputs: Batch): void {
    for (const [name, value] of Object.entries(logged ?? {})) {
      this.log(name, value, this.logOptions(name, batchSizeOf(inputs)));
    }
  }

  #compile<Arguments extends unknown[], Result>(
    name: string,
    body: (...given: Arguments) => Result,
  ): Compiled<Arguments, Result> {
    return this.#steps.of(name, body, this.#runsCompiled);
  }

  *#places(): Iterable<{ group: StateGroup; name: string; handle: JaxArray }> {
    const trees: readonly (readonly [StateGroup, unknown])[] = [
      ['model', this.params],
      ['optimizer', this.#optimizerState],
      ['gradient', this.#pending ?? []],
      ['rng', { key: this.#currentKey }],
    ];
    for (const [group, tree] of trees) {
      for (const { name, array } of storedLeaves(tree)) yield { group, name, handle: array };
    }
  }

  #restoreMeta({ learningRate, jit }: JsonObject): void {
    if (this.#learningRate !== undefined && typeof learningRate === 'number') {
      this.#learningRate = learningRate;
    }
    if (typeof jit !== 'boolean' || jit === this.#runsCompiled) return;
    this.#isCompiled = jit;
    this.#steps.forget('');
  }
}

function firstOf(values: ArrayLike<number>): number {
  return values[0] ?? Number.NaN;
}
