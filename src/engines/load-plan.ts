import { CheckpointMismatchError } from '../errors.ts';
import { type DType, tensorSizeBytes } from '../format/dtype.ts';
import type { LoadedTensor, LoadReport, StateGroup } from './engine.ts';

/** A place for a tensor in a module. */
export interface TensorPlace {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * How every engine loads: checks first, effects later. Nothing is touched before everything has been
 * compared, and a refusal tells of every difference.
 */
export class LoadPlan {
  readonly #stored = new Map<string, LoadedTensor>();
  readonly #mismatches: string[] = [];
  readonly #missing: string[] = [];
  readonly #effects: (() => void)[] = [];

  constructor(tensors: readonly LoadedTensor[]) {
    for (const tensor of tensors) this.#stored.set(label(tensor.group, tensor.name), tensor);
  }

  /** The names in a group that no {@link take} has asked for. */
  remaining(group: StateGroup): string[] {
    const stored = [...this.#stored.values()];
    return stored.filter((tensor) => tensor.group === group).map(({ name }) => name);
  }

  /** The stored tensor for a place of the module, or undefined when it is not there or does not fit. */
  take(group: StateGroup, name: string, place: TensorPlace): LoadedTensor | undefined {
    const key = label(group, name);
    const stored = this.#stored.get(key);
    this.#stored.delete(key);
    const difference = stored === undefined ? undefined : differenceOf(place, stored);
    if (stored !== undefined && difference === undefined) return stored;
    this.#missing.push(key);
    const ours = `${place.dtype} [${place.shape}]`;
    this.refuse(`${key}: ${difference ?? `missing from the checkpoint; the module has ${ours}`}`);
    return undefined;
  }

  /** Leaves a group of the checkpoint alone, on purpose: it does not count as unexpected. */
  ignore(group: StateGroup): void {
    for (const name of this.remaining(group)) this.#stored.delete(label(group, name));
  }

  /** Notes a difference that is not about one tensor. */
  refuse(line: string): void {
    this.#mismatches.push(line);
  }

  /** What to do if the load goes through. Must not throw. */
  after(effect: () => void): void {
    this.#effects.push(effect);
  }

  /** Carries the plan out, or refuses it as a whole. Tensors that were not taken are unexpected. */
  run(moduleName: string, strict: boolean): LoadReport {
    const unexpected = [...this.#stored.keys()];
    const lines = [
      ...this.#mismatches,
      ...[...this.#stored].map(
        ([key, { dtype, shape }]) =>
          `${key}: not in the module; the checkpoint has ${dtype} [${shape}]`,
      ),
    ];
    if (strict && lines.length > 0) {
      throw new CheckpointMismatchError(
        `The checkpoint does not fit ${moduleName}, and nothing was loaded:`,
        lines,
        { details: { missing: this.#missing, unexpected } },
      );
    }
    for (const effect of this.#effects) effect();
    return { missing: this.#missing, unexpected };
  }
}

/** Weights bear their own names; the names of other groups could be the same. */
function label(group: StateGroup, name: string): string {
  return group === 'model' ? name : `${group} ${name}`;
}

function differenceOf(
  place: TensorPlace,
  { dtype, shape, bytes }: LoadedTensor,
): string | undefined {
  if (dtype !== place.dtype)
    return `dtype ${place.dtype} in the module, ${dtype} in the checkpoint`;
  if (shape.length !== place.shape.length || shape.some((size, i) => size !== place.shape[i])) {
    return `shape [${place.shape}] in the module, [${shape}] in the checkpoint`;
  }
  const size = tensorSizeBytes(dtype, shape);
  return bytes.length === size ? undefined : `${bytes.length} bytes where ${size} are needed`;
}
