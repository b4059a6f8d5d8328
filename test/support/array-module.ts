import type {
  GradientClipping,
  LoadedTensor,
  LoadReport,
  StateEntry,
} from '../../src/engines/engine.ts';
import { CheckpointMismatchError } from '../../src/errors.ts';
import type { DType } from '../../src/format/dtype.ts';
import type { JsonObject } from '../../src/format/json.ts';
import type { LRScheduler, LRSchedulerConfig } from '../../src/schedulers/scheduler.ts';
import { TrainingModule } from '../../src/trainer/training-module.ts';

/** What `trainingStep` of an {@link ArrayModule} returns: it brings its own derivative. */
export interface LossAndGradients {
  readonly loss: number;
  /** dLoss/dWeight, one array for each weight. */
  readonly gradients: Readonly<Record<string, ArrayLike<number>>>;
}

/** What `configureOptimizers` of an {@link ArrayModule} returns. */
export interface Sgd {
  readonly learningRate: number;
  /** 0 (the default) keeps no velocity. */
  readonly momentum?: number;
}

/** The same with a schedule of its rate. */
export interface ScheduledSgd {
  readonly optimizer: Sgd;
  readonly lrScheduler: LRScheduler | LRSchedulerConfig;
}

type Arrays = Map<string, Float32Array>;
type Group = 'model' | 'optimizer' | 'gradient';

/**
 * The smallest complete engine: named `Float32Array`s and SGD with momentum, on the CPU. Arrays are never
 * written to after they are made: an update makes a new one, so a reference is a snapshot.
 */
export abstract class ArrayModule<Batch = number> extends TrainingModule<Batch> {
  readonly engineName: string = 'array';
  readonly #groups: Readonly<Record<Group, Arrays>>;
  #sgd: Required<Sgd> = { learningRate: 0.125, momentum: 0 };

  constructor(weights: Readonly<Record<string, ArrayLike<number>>>) {
    super();
    const model: Arrays = new Map();
    for (const [name, values] of Object.entries(weights))
      model.set(name, Float32Array.from(values));
    this.#groups = { model, optimizer: new Map(), gradient: new Map() };
  }

  abstract override trainingStep(batch: Batch, batchIdx: number): LossAndGradients;

  override validationStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  override testStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;
  override predictStep?(batch: Batch, batchIdx: number, dataloaderIdx: number): unknown;

  override configureOptimizers(): Sgd | ScheduledSgd {
    return { learningRate: 0.125 };
  }

  /** Today's values of one weight. Never write to it. */
  weight(name: string): Float32Array {
    const values = this.#groups.model.get(name);
    if (values === undefined) throw new RangeError(`This module has no weight '${name}'.`);
    return values;
  }

  /** Gives a weight other values, as a forward pass may. */
  replace(name: string, values: ArrayLike<number>): void {
    this.#groups.model.set(name, Float32Array.from(values));
  }

  override setupOptimizers(): unknown {
    const configured = this.configureOptimizers();
    this.#sgd = { momentum: 0, ...('optimizer' in configured ? configured.optimizer : configured) };
    this.#groups.optimizer.clear();
    if (this.#sgd.momentum === 0) return configured;
    for (const [name, { length }] of this.#groups.model) {
      this.#groups.optimizer.set(name, new Float32Array(length));
    }
    return configured;
  }

  override get learningRate(): number {
    return this.#sgd.learningRate;
  }
  override set learningRate(learningRate: number) {
    this.#sgd = { ...this.#sgd, learningRate };
  }

  override trainStep(batch: Batch, batchIdx: number, scale: number): number {
    const { loss, gradients } = this.trainingStep(batch, batchIdx);
    for (const name of this.#groups.model.keys()) {
      const pending = this.#groups.gradient.get(name);
      const added = Float32Array.from(
        gradients[name] ?? [],
        (value, i) => (pending?.[i] ?? 0) + value * scale,
      );
      if (added.length > 0) this.#groups.gradient.set(name, added);
    }
    return loss;
  }

  override replaceGradients(gradients: readonly LoadedTensor[]): void {
    this.#groups.gradient.clear();
    for (const { name, bytes } of gradients) {
      this.#groups.gradient.set(name, new Float32Array(bytes.slice().buffer));
    }
  }

  override optimizerStep(clipping: GradientClipping | undefined): void {
    const { model, optimizer, gradient } = this.#groups;
    const clip = clippingOf(clipping, gradient);
    for (const [name, pending] of gradient) {
      let direction = pending.map(clip);
      const velocity = optimizer.get(name);
      if (velocity !== undefined) {
        direction = direction.map((value, i) => velocity[i]! * this.#sgd.momentum + value);
        optimizer.set(name, direction);
      }
      const weight = this.weight(name);
      model.set(
        name,
        weight.map((value, i) => value - this.#sgd.learningRate * direction[i]!),
      );
    }
    gradient.clear();
  }

  override evalStep(
    stage: 'validation' | 'test' | 'predict',
    batch: Batch,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown {
    return this[`${stage}Step`]?.(batch, batchIdx, dataloaderIdx);
  }

  override *state(): Iterable<StateEntry> {
    for (const group of ['model', 'optimizer', 'gradient'] as const) {
      for (const [name, handle] of this.#groups[group]) {
        yield { group, name, handle, ...this.describe(handle) };
      }
    }
  }

  override meta(): JsonObject {
    return { learningRate: this.#sgd.learningRate, momentum: this.#sgd.momentum };
  }

  override load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    { strict, weightsOnly }: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport {
    const stored = new Map<string, LoadedTensor>();
    for (const tensor of tensors) {
      const { group, name } = tensor;
      if (!weightsOnly || group === 'model') stored.set(`${group} '${name}'`, tensor);
    }
    const isStored = (group: string) =>
      [...stored.values()].some((tensor) => tensor.group === group);
    const shapes = new Map<string, string>();
    for (const { group, name, shape } of this.state()) {
      if (group === 'model') shapes.set(`gradient '${name}'`, `F32[${shape}]`);
      if (group !== 'gradient') shapes.set(`${group} '${name}'`, `F32[${shape}]`);
    }
    // The optimizer's tensors may be absent as a whole, a pending gradient on its own.
    const missing = [...shapes].flatMap(([key, shape]) => {
      const tensor = stored.get(key);
      const isOptional =
        key.startsWith('gradient') || (!isStored('optimizer') && key.startsWith('opt'));
      if (tensor === undefined) return isOptional ? [] : [key];
      return `${tensor.dtype}[${tensor.shape}]` === shape ? [] : [key];
    });
    const unexpected = [...stored.keys()].filter((key) => !shapes.has(key));
    if (strict && missing.length + unexpected.length > 0) {
      throw new CheckpointMismatchError('The checkpoint does not fit this module.', [
        ...missing.map((key) => `${key} is missing, or of another shape or dtype`),
        ...unexpected.map((key) => `${key} is unexpected`),
      ]);
    }
    this.#groups.gradient.clear();
    for (const [key, { group, name, bytes }] of stored) {
      if (group === 'rng' || !shapes.has(key) || missing.includes(key)) continue;
      this.#groups[group].set(name, new Float32Array(bytes.slice().buffer));
    }
    if (!weightsOnly && typeof meta.learningRate === 'number') {
      this.#sgd = { ...this.#sgd, learningRate: meta.learningRate };
    }
    return { missing, unexpected };
  }

  override isTensor(value: unknown): boolean {
    return value instanceof Float32Array;
  }

  override describe(handle: unknown): { dtype: DType; shape: readonly number[] } {
    return { dtype: 'F32', shape: [(handle as Float32Array).length] };
  }

  override retain(handle: unknown): unknown {
    return handle;
  }

  override isUnchanged(handle: unknown, retained: unknown): boolean {
    return handle === retained;
  }

  override release(_handle: unknown): void {}

  override async read(handle: unknown): Promise<Uint8Array> {
    const { buffer, byteOffset, byteLength } = handle as Float32Array;
    return new Uint8Array(buffer, byteOffset, byteLength);
  }

  override readScalar(handle: unknown): number | Promise<number> {
    return typeof handle === 'number' ? handle : (handle as Float32Array)[0]!;
  }

  override dispose(): void {}
}

/** What to do with each element of a gradient. */
function clippingOf(
  clipping: GradientClipping | undefined,
  gradients: Arrays,
): (x: number) => number {
  if (clipping === undefined) return (value) => value;
  const { algorithm, value: limit } = clipping;
  if (algorithm === 'value') return (value) => Math.min(limit, Math.max(-limit, value));
  const norm = Math.hypot(...[...gradients.values()].flatMap((gradient) => [...gradient]));
  return (value) => (norm > limit ? (value * limit) / norm : value);
}
