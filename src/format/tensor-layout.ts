import { MisconfigurationError } from '../errors.ts';
import { compareAlignment, type DType, isDType, tensorSizeBytes } from './dtype.ts';
import { quote } from './json-scanner.ts';

/** A tensor without its data. A scalar has the shape `[]`; a dimension may be 0. */
export interface TensorSpec {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** How the data of tensors lie in a file: packed, and each aligned to its elements. */
export interface TensorLayout {
  /** Indices into the given tensors, in the order of their data. */
  readonly order: readonly number[];
  /** Their sizes in bytes, in the order of their data. */
  readonly sizesBytes: readonly number[];
  /** All sizes together. */
  readonly dataBytes: number;
}

/**
 * Orders data by falling alignment, then by name (in UTF-16 units), whatever order the tensors are given
 * in. So each is aligned to its elements with no bytes in between.
 *
 * Source: safetensors, `safetensors/src/tensor.rs`, `prepare`.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for an unknown dtype, a shape that is not of
 * non-negative safe integers, and sizes that come to 2 ** 53 bytes or more.
 */
export function layOut(tensors: readonly TensorSpec[]): TensorLayout {
  let dataBytes = 0;
  const sizes = tensors.map(({ name, dtype, shape }) => {
    const sizeBytes = isDType(dtype) ? tensorSizeBytes(dtype, shape) : undefined;
    dataBytes += sizeBytes ?? 0;
    if (sizeBytes === undefined || !Number.isSafeInteger(dataBytes)) {
      throw new MisconfigurationError(
        `the tensor ${quote(name)} cannot be ${String(dtype)} of shape [${shape.join(', ')}]`,
        { details: { name, dtype, shape } },
      );
    }
    return sizeBytes;
  });
  const order = [...tensors.keys()].sort((i, j) => {
    const [a, b] = [tensors[i] as TensorSpec, tensors[j] as TensorSpec];
    return compareAlignment(a.dtype, b.dtype) || (a.name < b.name ? -1 : 1);
  });
  return { order, sizesBytes: order.map((index) => sizes[index] as number), dataBytes };
}
