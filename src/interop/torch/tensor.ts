import { bytesPerElement, type DType } from '../../format/dtype.ts';
import type { ZipEntry } from '../zip/directory.ts';
import { PyNative } from './pickle/python-values.ts';

/** The dtype of a tensor of PyTorch: a name such as `torch.float32`, or a storage class such as `torch.FloatStorage`. */
export class TorchDType extends PyNative {
  readonly kind = 'dtype';
  readonly name: string;
  /** Undefined for one that safetensors has no word for. */
  readonly dtype: DType | undefined;

  constructor(name: string, dtype: DType | undefined) {
    super();
    this.name = name;
    this.dtype = dtype;
  }
}

/** A block of memory that tensors are views of. */
export class TorchStorage extends PyNative {
  readonly kind = 'storage';
  readonly entry: ZipEntry;
  /** What its elements are: bytes, for an untyped one. */
  readonly dtype: TorchDType;
  readonly sizeBytes: number;

  constructor(entry: ZipEntry, dtype: TorchDType, sizeBytes: number) {
    super();
    this.entry = entry;
    this.dtype = dtype;
    this.sizeBytes = sizeBytes;
  }
}

/** A tensor as a view of a storage. Its extent has been checked against the storage's. */
export class TorchTensor extends PyNative {
  readonly kind = 'tensor';
  readonly storage: TorchStorage;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** In elements, as {@link offset} is; never negative. */
  readonly strides: readonly number[];
  /** The first element in the storage. */
  readonly offset: number;

  constructor(
    storage: TorchStorage,
    dtype: DType,
    offset: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    super();
    this.storage = storage;
    this.dtype = dtype;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }

  /** The same elements with their dimensions in another order: for each, which one of these it is. */
  permuted(axes: readonly number[]): TorchTensor {
    const { storage, dtype, offset, shape, strides } = this;
    return new TorchTensor(
      storage,
      dtype,
      offset,
      axes.map((axis) => shape[axis] as number),
      axes.map((axis) => strides[axis] as number),
    );
  }

  get sizeBytes(): number {
    return this.shape.reduce((product, size) => product * size, bytesPerElement(this.dtype));
  }

  /** The bytes of the storage from its first to its last element, of an empty tensor none. */
  get extent(): { readonly offset: number; readonly length: number } {
    const bytes = bytesPerElement(this.dtype);
    const offset = this.offset * bytes;
    if (this.sizeBytes === 0) return { offset: 0, length: 0 };
    const last = this.shape.reduce(
      (sum, size, i) => sum + (size - 1) * (this.strides[i] as number),
      0,
    );
    return { offset, length: (last + 1) * bytes };
  }

  /** Whether its elements lie one after the other, in the order of its shape. */
  get isContiguous(): boolean {
    let expected = 1;
    for (let i = this.shape.length - 1; i >= 0; i--) {
      const size = this.shape[i] as number;
      if (size !== 1 && this.strides[i] !== expected) return this.sizeBytes === 0;
      expected *= size;
    }
    return true;
  }
}
