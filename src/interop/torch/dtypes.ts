import type { DType } from '../../format/dtype.ts';
import { TorchDType } from './tensor.ts';

/**
 * The dtypes of PyTorch, with the class of their storages where they have one, and what they are in a file of
 * Highwater; undefined where safetensors has no word for them.
 *
 * Source: PyTorch, `torch/storage.py`, `_dtype_to_storage_type_map`, and `torch/_utils.py`.
 */
const DTYPES: readonly (readonly [
  name: string,
  storage: string | undefined,
  dtype: DType | undefined,
])[] = [
  ['float32', 'FloatStorage', 'F32'],
  ['float64', 'DoubleStorage', 'F64'],
  ['float16', 'HalfStorage', 'F16'],
  ['bfloat16', 'BFloat16Storage', 'BF16'],
  ['int64', 'LongStorage', 'I64'],
  ['int32', 'IntStorage', 'I32'],
  ['int16', 'ShortStorage', 'I16'],
  ['int8', 'CharStorage', 'I8'],
  ['uint8', 'ByteStorage', 'U8'],
  ['bool', 'BoolStorage', 'BOOL'],
  ['complex64', 'ComplexFloatStorage', 'C64'],
  ['complex128', 'ComplexDoubleStorage', undefined],
  ['complex32', undefined, undefined],
  ['uint16', undefined, 'U16'],
  ['uint32', undefined, 'U32'],
  ['uint64', undefined, 'U64'],
  ['float8_e5m2', undefined, 'F8_E5M2'],
  ['float8_e4m3fn', undefined, 'F8_E4M3'],
  ['float8_e5m2fnuz', undefined, undefined],
  ['float8_e4m3fnuz', undefined, undefined],
];

/** By the names that a pickle has for them: `torch.float32`, `torch.FloatStorage`. */
export const TORCH_DTYPES: ReadonlyMap<string, TorchDType> = new Map([
  ...DTYPES.map(([name, , dtype]) => [`torch.${name}`, new TorchDType(name, dtype)] as const),
]);

/** The storage classes by name. An untyped one holds bytes. */
export const TORCH_STORAGES: ReadonlyMap<string, TorchDType> = new Map([
  ...DTYPES.flatMap(([name, storage, dtype]) =>
    storage === undefined ? [] : [[`torch.${storage}`, new TorchDType(name, dtype)] as const],
  ),
  ['torch.UntypedStorage', new TorchDType('uint8', 'U8')],
  ['torch.storage.UntypedStorage', new TorchDType('uint8', 'U8')],
]);

/** The storage class that tensors of a dtype are saved with; undefined where PyTorch 1.13 has none. */
export function storageClassOf(dtype: DType): string | undefined {
  const storage = DTYPES.find(([, , known]) => known === dtype)?.[1];
  return storage === undefined ? undefined : `torch.${storage}`;
}
