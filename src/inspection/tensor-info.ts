import type { StoredTensor, TensorGroup } from '../format/checkpoint-file.ts';
import type { DType } from '../format/dtype.ts';

/** A tensor by the header. */
export interface TensorInfo {
  readonly group: TensorGroup;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly sizeBytes: number;
  /** Where its bytes begin, from the start of the file. */
  readonly offset: number;
}

/** What the header says of a tensor, without its checksum. */
export function infoOf({ group, name, dtype, shape, sizeBytes, offset }: StoredTensor): TensorInfo {
  return { group, name, dtype, shape, sizeBytes, offset };
}

/** How a tensor is named where weights and others stand side by side. */
export function spelledName({ group, name }: Pick<TensorInfo, 'group' | 'name'>): string {
  return group === 'model' ? name : `${group}/${name}`;
}
