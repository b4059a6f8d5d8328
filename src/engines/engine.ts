import type { DType } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';

/** Which part of a module's state a tensor belongs to. `gradient`: accumulated, not yet applied. */
export type StateGroup = 'model' | 'optimizer' | 'gradient' | 'rng';

/** One tensor of a module's state, by reference. */
export interface StateEntry {
  readonly group: StateGroup;
  /** Unique within its group, and the same in every process for the same module. */
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** The engine's own tensor, borrowed: valid until the next training step. See {@link Engine.retain}. */
  readonly handle: unknown;
}

/** One tensor as it stands in a checkpoint, little-endian. */
export interface LoadedTensor {
  readonly group: StateGroup;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

/** How gradients are clipped before an optimizer step. */
export interface GradientClipping {
  /** Largest norm (`norm`) or absolute value (`value`); above 0. */
  readonly value: number;
  /** `norm`: scale all gradients so that their joint L2 norm is at most `value`. `value`: clamp each element. */
  readonly algorithm: 'norm' | 'value';
}

/** What a non-strict load left out. */
export interface LoadReport {
  /** Tensors of the module that the checkpoint does not hold, or holds in another shape or dtype. */
  readonly missing: readonly string[];
  /** Tensors of the checkpoint that the module has no place for. */
  readonly unexpected: readonly string[];
}

/** Which evaluation step to run. */
export type EvaluationStage = 'validation' | 'test' | 'predict';

/** What is asked of a library's tensors. */
export interface EngineTensors {
  /** Whether a value is one of the engine's tensors. */
  isTensor(value: unknown): boolean;
  /** Its dtype and shape. */
  describe(handle: unknown): { readonly dtype: DType; readonly shape: readonly number[] };
  /** An owned alias that keeps today's values whatever training does next. O(1), nothing copied. */
  retain(handle: unknown): unknown;
  /**
   * Whether a tensor of {@link EngineState.state} certainly has the values still that it had when `retained` was made of it.
   * O(1). False, or absent, where that would take a look at the values.
   */
  isUnchanged?(handle: unknown, retained: unknown): boolean;
  /** Frees an alias made by {@link retain} or a loss that a training step returned. Numbers are ignored. */
  release(handle: unknown): void;
  /** The values of a retained handle, little-endian. The bytes may be the live buffer: never write to them. */
  read(handle: unknown): Promise<Uint8Array>;
  /**
   * The same at once and without a copy: the memory in which the values lie, never to be written to. They may lie
   * elsewhere whenever the engine has worked since: then the next call shows where, or gives undefined when they can
   * only be read; it shows the same memory as long as they have not moved. Absent where that cannot be.
   */
  view?(handle: unknown): Uint8Array | undefined;
  /** The value of a scalar tensor (or number). */
  readScalar(handle: unknown): number | Promise<number>;
}

/** A model and its optimizer, as far as a checkpoint is concerned. */
export interface EngineState extends EngineTensors {
  /** For the checkpoint's metadata: `tfjs`, `jax`. */
  readonly engineName: string;
  /**
   * Every tensor of the module, its optimizer and the pending gradients; before there is an optimizer, the others.
   * O(tensors), no bytes read.
   */
  state(): Iterable<StateEntry>;
  /** What the state holds beside tensors: step counts, running products, hyper-parameters of the optimizer. */
  meta(): JsonObject;
  /**
   * Puts a stored state back, exactly. Checks everything before touching anything. `optimizer` and
   * `gradient` tensors may be absent as a whole (weights only); pending gradients that the checkpoint
   * does not hold are dropped.
   *
   * @throws CheckpointMismatchError listing every mismatch, when strict; nothing is loaded then.
   */
  load(
    tensors: readonly LoadedTensor[],
    meta: JsonObject,
    options: { readonly strict: boolean; readonly weightsOnly: boolean },
  ): LoadReport | Promise<LoadReport>;
}

/**
 * What the Trainer asks of a tensor library. A base class such as `TfjsModule` implements it once, and
 * users extend that class. `testing/engine-contract.ts` is the suite that every engine passes.
 */
export interface Engine extends EngineState {
  /**
   * Makes the optimizer (from `configureOptimizers`). Called once, before anything is loaded or trained.
   *
   * @returns what `configureOptimizers` returned: the Trainer looks for an `lrScheduler` in it.
   */
  setupOptimizers(): unknown;
  /**
   * The optimizer's rate; undefined when the engine cannot know it. What is set counts from the next
   * {@link optimizerStep} on, and is part of {@link meta}.
   */
  learningRate: number | undefined;
  /**
   * Runs `trainingStep` forward and backward and adds its gradients, times `scale`, to the pending ones.
   * Throws without having added anything when `trainingStep` throws.
   *
   * @returns the loss: a number, or an owned handle that {@link release} frees.
   */
  trainStep(batch: unknown, batchIdx: number, scale: number): unknown;
  /**
   * Puts other gradients in the place of the pending ones: tensors of group `gradient`, each of the dtype and shape of the
   * weight it belongs to; none: nothing is pending. The bytes are copied. Without it an engine trains on one
   * rank only.
   */
  replaceGradients?(gradients: readonly LoadedTensor[]): void | Promise<void>;
  /** Applies the pending gradients with the optimizer, then drops them. */
  optimizerStep(clipping: GradientClipping | undefined): void | Promise<void>;
  /** Runs `validationStep`, `testStep` or `predictStep` without gradients; what it returned. */
  evalStep(
    stage: EvaluationStage,
    batch: unknown,
    batchIdx: number,
    dataloaderIdx: number,
  ): unknown;

  /** Frees every tensor. Snapshots in flight hold their own aliases and are not harmed. */
  dispose(): void;
}
