/** A view of elements that lie apart: which of them, in which order. */
export interface StridedView {
  readonly shape: readonly number[];
  /** Elements from one index to the next, for each dimension; 0 repeats. Not negative. */
  readonly strides: readonly number[];
  /** The first element. */
  readonly offset: number;
}

/**
 * The elements of a view, one after the other in the order of its shape: a transposed or expanded tensor as
 * a file holds it.
 *
 * @param bytes all elements that the view reaches; their size is a power of two of at most 16 bytes.
 */
export function gather(bytes: Uint8Array, elementBytes: number, view: StridedView): Uint8Array {
  const wordBytes = Math.min(elementBytes, 4);
  const words = elementBytes / wordBytes;
  // An element of more than one word is one more dimension.
  const shape = words === 1 ? view.shape : [...view.shape, words];
  const strides = words === 1 ? view.strides : [...view.strides.map((s) => s * words), 1];
  const from = wordsOf(bytes, wordBytes);
  const size = shape.reduce((product, length) => product * length, 1);
  const to = wordsOf(new Uint8Array(size * wordBytes), wordBytes);
  copy(from, to, { shape, strides, offset: view.offset * words });
  return new Uint8Array(to.buffer);
}

/** The strides of elements that lie one after the other. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i] as number;
  }
  return strides;
}

type Words = Uint8Array | Uint16Array | Uint32Array;

function wordsOf(bytes: Uint8Array, wordBytes: number): Words {
  const aligned = bytes.byteOffset % wordBytes === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset, length } = aligned;
  if (wordBytes === 4) return new Uint32Array(buffer, byteOffset, Math.floor(length / 4));
  if (wordBytes === 2) return new Uint16Array(buffer, byteOffset, Math.floor(length / 2));
  return aligned;
}

function copy(from: Words, to: Words, { shape, strides, offset }: StridedView): void {
  const rank = shape.length;
  const inner = rank === 0 ? 1 : (shape[rank - 1] as number);
  const innerStride = rank === 0 ? 1 : (strides[rank - 1] as number);
  const index = new Array<number>(Math.max(rank - 1, 0)).fill(0);
  let begin = offset;
  for (let at = 0; at < to.length; at += inner) {
    if (innerStride === 1) to.set(from.subarray(begin, begin + inner), at);
    else for (let i = 0; i < inner; i++) to[at + i] = from[begin + i * innerStride] as number;
    // The next row: the last of the outer dimensions that is not through goes on.
    for (let d = rank - 2; d >= 0; d--) {
      begin += strides[d] as number;
      index[d] = (index[d] as number) + 1;
      if ((index[d] as number) < (shape[d] as number)) break;
      begin -= (shape[d] as number) * (strides[d] as number);
      index[d] = 0;
    }
  }
}
