import { MisconfigurationError } from '../errors.ts';

/**
 * The element types of a safetensors file that Highwater reads and writes, under that format's names.
 * Elements are little-endian; `BOOL` is one byte, 0 or 1; `C64` is a complex number of two `F32`, its real
 * part first.
 *
 * Source: safetensors, `safetensors/src/tensor.rs`, `enum Dtype`.
 */
export type DType =
  | 'BOOL'
  | 'U8'
  | 'I8'
  | 'F8_E5M2'
  | 'F8_E4M3'
  | 'I16'
  | 'U16'
  | 'F16'
  | 'BF16'
  | 'I32'
  | 'U32'
  | 'F32'
  | 'C64'
  | 'F64'
  | 'I64'
  | 'U64';

/** A JavaScript array over the elements of a tensor; see {@link arrayOf} for which dtype gets which. */
export type TensorArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array;

interface TensorArrayConstructor {
  readonly BYTES_PER_ELEMENT: number;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): TensorArray;
}

/** In rising order of alignment: the order of the reference, which the order of data follows. */
const DTYPES: Readonly<Record<DType, readonly [bytes: number, array: TensorArrayConstructor]>> = {
  BOOL: [1, Uint8Array],
  U8: [1, Uint8Array],
  I8: [1, Int8Array],
  F8_E5M2: [1, Uint8Array],
  F8_E4M3: [1, Uint8Array],
  I16: [2, Int16Array],
  U16: [2, Uint16Array],
  F16: [2, Uint16Array],
  BF16: [2, Uint16Array],
  I32: [4, Int32Array],
  U32: [4, Uint32Array],
  F32: [4, Float32Array],
  C64: [8, Float32Array],
  F64: [8, Float64Array],
  I64: [8, BigInt64Array],
  U64: [8, BigUint64Array],
};

const RANKS: ReadonlyMap<string, number> = new Map(
  Object.keys(DTYPES).map((dtype, rank) => [dtype, rank]),
);

const NATURAL_DTYPES: ReadonlyMap<string, DType> = new Map([
  ['Uint8Array', 'U8'],
  ['Uint8ClampedArray', 'U8'],
  ['Int8Array', 'I8'],
  ['Uint16Array', 'U16'],
  ['Int16Array', 'I16'],
  ['Uint32Array', 'U32'],
  ['Int32Array', 'I32'],
  ['Float16Array', 'F16'],
  ['Float32Array', 'F32'],
  ['Float64Array', 'F64'],
  ['BigInt64Array', 'I64'],
  ['BigUint64Array', 'U64'],
]);

/** Whether a name is that of a dtype. */
export function isDType(name: string): name is DType {
  return RANKS.has(name);
}

/** The size of one element in bytes: 1, 2, 4 or 8. */
export function bytesPerElement(dtype: DType): number {
  return DTYPES[dtype][0];
}

/** Orders dtypes by falling alignment (then as the reference does): negative when `a` comes first. */
export function compareAlignment(a: DType, b: DType): number {
  return (RANKS.get(b) as number) - (RANKS.get(a) as number);
}

/**
 * The size in bytes of a tensor of this dtype and shape; of a scalar (shape `[]`) one element's.
 *
 * @returns undefined when the shape holds anything but non-negative safe integers, or when a product of
 * its leading dimensions, or the size, is not a safe integer.
 */
export function tensorSizeBytes(dtype: DType, shape: readonly number[]): number | undefined {
  let elements = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) return undefined;
    elements *= dimension;
    if (!Number.isSafeInteger(elements)) return undefined;
  }
  const sizeBytes = elements * bytesPerElement(dtype);
  return Number.isSafeInteger(sizeBytes) ? sizeBytes : undefined;
}

/**
 * The elements of a tensor as a JavaScript array: a view of `bytes` where their alignment allows it, a
 * copy where not. `F16` and `BF16` come as the `Uint16Array` of their bits, `BOOL` and the 8-bit floats
 * as a `Uint8Array`, `C64` as a `Float32Array` of twice as many numbers. The machine is taken to be
 * little-endian, as all that run WebAssembly engines are.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) when the bytes are not a whole number of elements.
 */
export function arrayOf(dtype: DType, bytes: Uint8Array): TensorArray {
  const [size, ArrayType] = DTYPES[dtype];
  if (bytes.length % size !== 0) {
    throw new MisconfigurationError(
      `${bytes.length} bytes are not a whole number of ${dtype} elements of ${size} bytes`,
    );
  }
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const { BYTES_PER_ELEMENT } = ArrayType;
  return new ArrayType(aligned.buffer, aligned.byteOffset, aligned.length / BYTES_PER_ELEMENT);
}

/**
 * The dtype that a JavaScript array holds by its own type (`Uint16Array` is `U16`, never `BF16`).
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for a view that is not a typed array.
 */
export function dtypeOf(array: ArrayBufferView): DType {
  const type = Object.prototype.toString.call(array).slice('[object '.length, -1);
  const dtype = NATURAL_DTYPES.get(type);
  if (dtype === undefined) throw new MisconfigurationError(`no tensor can be made of a ${type}`);
  return dtype;
}
