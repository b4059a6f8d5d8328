import { type Engine, LoadPlan, type StateEntry, TrainingModule } from 'highwater';

type Arrays = Map<string, Float32Array>;
type Gradients = Record<string, readonly number[]>;

/** The smallest whole engine: named `Float32Array`s, and gradient descent with momentum. */
export abstract class FloatModule<Batch = unknown> extends TrainingModule<Batch> {
  readonly engineName = 'float';
  // No array is written to once it is made, so a reference to it is a snapshot.
  readonly arrays = {
    model: new Map() as Arrays,
    optimizer: new Map() as Arrays,
    gradient: new Map() as Arrays,
  };
  #sgd = { learningRate: 0, momentum: 0 };

  abstract override trainingStep(batch: Batch): { loss: number; gradients: Gradients };
  override validationStep?(batch: Batch): unknown;
  abstract override configureOptimizers(): { learningRate: number; momentum: number };

  setupOptimizers(): void {
    this.#sgd = { ...this.configureOptimizers() };
    for (const [name, weight] of this.arrays.model) {
      this.arrays.optimizer.set(name, new Float32Array(weight.length));
    }
  }
  trainStep(batch: Batch, _batchIdx: number, scale: number): number {
    const { loss, gradients } = this.trainingStep(batch);
    for (const [name, gradient] of Object.entries(gradients)) {
      const sum = this.arrays.gradient.get(name);
      const added = Float32Array.from(gradient, (value, i) => (sum?.[i] ?? 0) + value * scale);
      this.arrays.gradient.set(name, added);
    }
    return loss;
  }
  optimizerStep(clipping: Parameters<Engine['optimizerStep']>[0]): void {
    const { model, optimizer, gradient } = this.arrays;
    const { value: limit, algorithm } = clipping ?? { value: 1 };
    const norm = Math.hypot(...[...gradient.values()].flatMap((values) => [...values]));
    const factor = algorithm === 'norm' ? Math.min(1, limit / norm) : 1;
    const bound = algorithm === 'value' ? limit : Number.POSITIVE_INFINITY;
    for (const [name, weight] of model) {
      const clipped = gradient.get(name)?.map((g) => Math.max(-bound, Math.min(bound, g * factor)));
      const old = optimizer.get(name);
      const velocity = clipped?.map((g, i) => this.#sgd.momentum * (old?.[i] ?? 0) + g);
      if (velocity === undefined) continue;
      const next = weight.map((w, i) => w - this.#sgd.learningRate * (velocity[i] ?? 0));
      optimizer.set(name, velocity);
      model.set(name, next);
    }
    gradient.clear();
  }
  evalStep(stage: Parameters<Engine['evalStep']>[0], batch: Batch): unknown {
    return this[`${stage}Step`]?.(batch as never);
  }

  *state(): Iterable<StateEntry> {
    for (const group of ['model', 'optimizer', 'gradient'] as const) {
      for (const [name, handle] of this.arrays[group]) {
        yield { group, name, handle, ...this.describe(handle) };
      }
    }
  }
  meta(): ReturnType<Engine['meta']> {
    return { ...this.#sgd };
  }
  load(...[tensors, meta, options]: Parameters<Engine['load']>): ReturnType<LoadPlan['run']> {
    const plan = new LoadPlan(tensors); // Compares everything; then has all effects, or none.
    const put = (group: 'model' | 'optimizer' | 'gradient', name: string, like: Float32Array) => {
      const bytes = plan.take(group, name, this.describe(like))?.bytes.slice();
      if (bytes) plan.after(() => this.arrays[group].set(name, new Float32Array(bytes.buffer)));
    };
    plan.after(() => this.arrays.gradient.clear());
    for (const [name, weight] of this.arrays.model) {
      put('model', name, weight);
      if (options.weightsOnly) continue;
      put('optimizer', name, weight);
      if (plan.remaining('gradient').includes(name)) put('gradient', name, weight);
    }
    if (options.weightsOnly)
      for (const group of ['optimizer', 'gradient', 'rng'] as const) plan.ignore(group);
    else plan.after(() => Object.assign(this.#sgd, meta));
    return plan.run(this.constructor.name, options.strict);
  }

  isTensor = (value: unknown): boolean => value instanceof Float32Array;
  describe = (handle: unknown) => ({
    dtype: 'F32' as const,
    shape: [(handle as Float32Array).length],
  });
  retain = (handle: unknown): unknown => handle;
  release = (): void => undefined;
  read = async (handle: unknown): Promise<Uint8Array> =>
    new Uint8Array((handle as Float32Array).buffer);
  readScalar = (handle: unknown): number =>
    handle instanceof Float32Array ? (handle[0] ?? 0) : Number(handle);
  dispose = (): void => undefined;
}
