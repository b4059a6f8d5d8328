import * as tf from '@tensorflow/tfjs-core';
import { MisconfigurationError } from '../../errors.ts';
import { arrayOf, type DType } from '../../format/dtype.ts';
import type { TensorPlace } from '../load-plan.ts';

const FORMATS = {
  float32: { dtype: 'F32', array: Float32Array },
  int32: { dtype: 'I32', array: Int32Array },
  bool: { dtype: 'BOOL', array: Uint8Array },
} as const;

function storedAs({ dtype }: tf.Tensor, what: string): (typeof FORMATS)[keyof typeof FORMATS] {
  if (dtype === 'float32' || dtype === 'int32' || dtype === 'bool') return FORMATS[dtype];
  throw new MisconfigurationError(
    `${what} is of dtype ${dtype}, which a checkpoint cannot hold: use float32, int32 or bool.`,
    { details: { dtype } },
  );
}

/**
 * The dtype of a tensor as a checkpoint names it.
 *
 * @throws MisconfigurationError for `complex64` and `string`, which no checkpoint can hold.
 */
export function dtypeOf(tensor: tf.Tensor, what = 'A tensor'): DType {
  return storedAs(tensor, what).dtype;
}

/** The dtype and shape of a tensor, as a checkpoint has them. */
export function formatOf(tensor: tf.Tensor): TensorPlace {
  return { dtype: dtypeOf(tensor), shape: tensor.shape };
}

/**
 * A tensor of its own on the same data: it keeps its values whatever is assigned to a variable later,
 * and outlives every `tidy`. O(1), and several times cheaper than a kernel: this is what the `Reshape`
 * kernels do, without the dispatch around them. (`clone` copies on the wasm backend.)
 *
 * Source: tfjs-core 4.22, `engine.ts`, and `Reshape` of its cpu, wasm and webgl backends.
 */
export function alias(tensor: tf.Tensor): tf.Tensor {
  const engine = tf.engine();
  const { dataId, shape, dtype } = tensor;
  const { backend } = engine.state.tensorInfo.get(dataId) ?? engine;
  backend.incRef(dataId);
  return tf.keep(engine.makeTensorFromTensorInfo({ dataId, shape, dtype }, backend));
}

/** The values, little-endian. On the cpu backend these bytes are the live buffer. */
export async function bytesOf(tensor: tf.Tensor): Promise<Uint8Array> {
  return bytesIn(await tensor.data(), tensor);
}

/** What the wasm backend has beside the methods of every backend. */
interface HeapBackend {
  typedArrayFromHeap?(tensor: tf.TensorInfo): tf.TypedArray;
}

/**
 * The values where they lie: the array that the cpu backend keeps, or a piece of WebAssembly memory. Undefined where
 * there would be a copy.
 *
 * Source: tfjs-backend-cpu 4.22, `readSync` in `backend_cpu.ts`; tfjs-backend-wasm 4.22, `backend_wasm.ts`, which looks
 * at the inputs of its own kernels in this way.
 */
export function viewOf(tensor: tf.Tensor): Uint8Array | undefined {
  const { dataId, shape, dtype } = tensor;
  const info = tf.engine().state.tensorInfo.get(dataId);
  const backend = info?.backend as (tf.KernelBackend & HeapBackend) | undefined;
  if (backend !== undefined && backend === tf.findBackend('cpu')) {
    // Of booleans it gives a copy.
    if (dtype === 'bool') return undefined;
    return bytesIn(backend.readSync(dataId) as tf.TypedArray, tensor);
  }
  const values = backend?.typedArrayFromHeap?.({ dataId, shape, dtype });
  return values && bytesIn(values, tensor);
}

function bytesIn(values: ArrayLike<number>, tensor: tf.Tensor): Uint8Array {
  const TypedArray = storedAs(tensor, 'A tensor').array;
  // The cpu backend keeps whatever array a kernel or the user made the tensor of.
  const array = values instanceof TypedArray ? values : TypedArray.from(values);
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A new tensor of the dtype and shape of another. The bytes are copied, never kept. */
export function tensorLike(model: tf.Tensor, bytes: Uint8Array): tf.Tensor {
  // The cpu backend takes an array as it is: without the copy a weight would hold a whole file.
  const values = arrayOf(dtypeOf(model), bytes.slice()) as Float32Array | Int32Array | Uint8Array;
  return tf.tensor(values, model.shape, model.dtype);
}

/** Gives a variable the values of a checkpoint, at its own dtype and shape. */
export function assignBytes(variable: tf.Variable, bytes: Uint8Array): void {
  const value = tensorLike(variable, bytes);
  variable.assign(value);
  value.dispose();
}
