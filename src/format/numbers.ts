import { arrayOf, type DType } from './dtype.ts';

/** A floating-point format narrower than 32 bits. */
interface NarrowFloat {
  readonly exponentBits: number;
  readonly mantissaBits: number;
  /** The largest exponent holds numbers too, and one NaN of each sign. */
  readonly hasNoInfinity: boolean;
}

/** Source of the 8-bit ones: OCP 8-bit Floating Point Specification 1.0, table 1. */
const NARROW: Partial<Readonly<Record<DType, NarrowFloat>>> = {
  F16: { exponentBits: 5, mantissaBits: 10, hasNoInfinity: false },
  BF16: { exponentBits: 8, mantissaBits: 7, hasNoInfinity: false },
  F8_E5M2: { exponentBits: 5, mantissaBits: 2, hasNoInfinity: false },
  F8_E4M3: { exponentBits: 4, mantissaBits: 3, hasNoInfinity: true },
};

const tables = new Map<DType, Float32Array>();

/** Whether a dtype holds floating-point numbers; else it holds whole numbers or booleans. */
export function isFloat(dtype: DType): boolean {
  return dtype === 'F32' || dtype === 'F64' || dtype === 'C64' || NARROW[dtype] !== undefined;
}

/**
 * The elements of a tensor as numbers: a view of `bytes` where JavaScript has such an array and their
 * alignment allows it, else a copy. Every float is exact; whole numbers of 64 bits beyond 2 ** 53 are
 * rounded; `BOOL` is 0 or 1; of `C64` the real and the imaginary parts by turns.
 */
export function numbersOf(dtype: DType, bytes: Uint8Array): ArrayLike<number> {
  const array = arrayOf(dtype, bytes);
  if (array instanceof BigInt64Array || array instanceof BigUint64Array) {
    return Float64Array.from(array, Number);
  }
  const narrow = NARROW[dtype];
  if (narrow === undefined) return array;
  const table = tables.get(dtype) ?? tableOf(narrow);
  tables.set(dtype, table);
  return Float32Array.from(array, (bits) => table[bits] as number);
}

/**
 * Numbers as the bytes of a float dtype, each rounded once, to the nearest and ties to even. What is too large
 * becomes an infinity.
 *
 * @returns undefined for a dtype that is no float, and for `F8_E4M3`, which has no infinity.
 */
export function floatBytes(dtype: DType, values: Float64Array): Uint8Array | undefined {
  if (dtype === 'F64') return bytesOf(values);
  if (dtype === 'F32' || dtype === 'C64') return bytesOf(Float32Array.from(values));
  const narrow = NARROW[dtype];
  if (narrow === undefined || narrow.hasNoInfinity) return undefined;
  const isByte = 1 + narrow.exponentBits + narrow.mantissaBits === 8;
  const bits = isByte ? new Uint8Array(values.length) : new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = encode(narrow, values[i] as number);
  return bytesOf(bits);
}

function bytesOf({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** The number of every pattern of bits. */
function tableOf(format: NarrowFloat): Float32Array {
  const bits = 1 + format.exponentBits + format.mantissaBits;
  return Float32Array.from({ length: 2 ** bits }, (_, pattern) => decode(format, pattern));
}

function decode(
  { exponentBits, mantissaBits, hasNoInfinity }: NarrowFloat,
  pattern: number,
): number {
  const largest = 2 ** exponentBits - 1;
  const steps = 2 ** mantissaBits;
  const mantissa = pattern % steps;
  const exponent = Math.floor(pattern / steps) % (largest + 1);
  const sign = pattern >= steps * (largest + 1) ? -1 : 1;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === largest && !hasNoInfinity) return mantissa === 0 ? sign * Infinity : Number.NaN;
  if (exponent === largest && mantissa === steps - 1) return Number.NaN;
  if (exponent === 0) return sign * mantissa * 2 ** (1 - bias - mantissaBits);
  return sign * (1 + mantissa / steps) * 2 ** (exponent - bias);
}

const double = new DataView(new ArrayBuffer(8));

function encode({ exponentBits, mantissaBits }: NarrowFloat, value: number): number {
  const steps = 2 ** mantissaBits;
  const infinity = (2 ** exponentBits - 1) * steps;
  const bias = 2 ** (exponentBits - 1) - 1;
  double.setFloat64(0, value);
  const sign = double.getUint8(0) >= 128 ? steps * 2 ** exponentBits : 0;
  if (Number.isNaN(value)) return sign + infinity + steps / 2;
  // A number too small for a normal one is counted in the steps of the smallest exponent.
  const exponent = Math.max(((double.getUint16(0) >> 4) & 0x7ff) - 1023, 1 - bias);
  if (exponent > bias) return sign + infinity;
  const inSteps = Math.abs(value) / 2 ** (exponent - mantissaBits);
  // Rounding up may carry into the exponent, which is what the next number's bits are.
  const magnitude = (exponent + bias - 1) * steps + roundHalfEven(inSteps);
  return sign + Math.min(magnitude, infinity);
}

function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
