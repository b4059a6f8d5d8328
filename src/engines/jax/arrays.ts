import { Array as JaxArray, numpy as np } from '@jax-js/jax';
import { MisconfigurationError } from '../../errors.ts';
import { arrayOf, type DType } from '../../format/dtype.ts';
import type { TensorPlace } from '../load-plan.ts';

const DTYPES: Readonly<Record<string, DType>> = {
  bool: 'BOOL',
  int32: 'I32',
  uint32: 'U32',
  float16: 'F16',
  float32: 'F32',
  float64: 'F64',
};

/**
 * The dtype and shape of an array, as a checkpoint has them.
 *
 * @throws MisconfigurationError for float16 and float64 where JavaScript has no `Float16Array` (Node 20):
 * jax-js 0.1.25 cannot be given values of either there.
 */
export function formatOf(array: JaxArray, what = 'An array'): TensorPlace {
  const dtype = DTYPES[array.dtype];
  const needsFloat16 = dtype === 'F16' || dtype === 'F64';
  if (dtype === undefined || (needsFloat16 && !('Float16Array' in globalThis))) {
    throw new MisconfigurationError(
      `${what} is of dtype ${array.dtype}, which cannot be saved and restored here: use float32.`,
      { details: { dtype: array.dtype } },
    );
  }
  return { dtype, shape: array.shape };
}

/** The values, little-endian, in a buffer of their own. The array is borrowed. */
export async function bytesOf(array: JaxArray): Promise<Uint8Array> {
  const values = await array.ref.data();
  if (array.dtype === np.bool) return Uint8Array.from(values as Int32Array);
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** A new array of the dtype and shape of another. The bytes are copied. */
export function arrayLike(model: JaxArray, bytes: Uint8Array): JaxArray {
  const { dtype, shape } = model;
  // A copy of their own: the bytes may lie anywhere in a file's buffer, and a typed array must be aligned.
  const own = bytes.slice();
  const stored = arrayOf(formatOf(model).dtype, own);
  const values = dtype === np.bool ? Int32Array.from(stored as Uint8Array) : stored;
  return np.array(values as Float32Array<ArrayBuffer>, { shape: [...shape], dtype });
}

/**
 * A batch as jax-js computes with it: typed arrays become 1-D arrays (float64 as float32, bytes and 16-bit
 * integers as int32), numbers and booleans scalars; what is one of jax-js's arrays already is borrowed.
 * The caller owns the result.
 */
export function toArrays(value: unknown): unknown {
  if (value instanceof JaxArray) return value.ref;
  if (typeof value === 'number' || typeof value === 'boolean') return np.array(value as never);
  if (ArrayBuffer.isView(value)) return np.array(computable(value));
  if (Array.isArray(value)) return value.map(toArrays);
  if (typeof value === 'object' && value !== null && value.constructor === Object) {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toArrays(inner)]));
  }
  throw new MisconfigurationError(
    `A batch holds ${typeof value === 'object' ? (value?.constructor?.name ?? 'null') : typeof value}, which ` +
      `jax-js cannot compute with. Override toArrays(batch), or give numbers, typed arrays and jax arrays.`,
  );
}

type Computable = Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

function computable(view: ArrayBufferView): Computable {
  if (view instanceof Float64Array) return Float32Array.from(view);
  const isOwn = [Float32Array, Int32Array, Uint32Array].some((kind) => view instanceof kind);
  return isOwn ? (view as Computable) : Int32Array.from(view as Uint8Array);
}
