import { arrayOf, type DType, tensorSizeBytes } from '../../format/dtype.ts';
import {
  type Construct,
  PyDict,
  PyGlobal,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
  spell,
} from './pickle/python-values.ts';
import { TorchTensor } from './tensor.ts';

/** `dict(items)`: of pairs, or of another dict. */
export function dictOf(args: readonly PyValue[], refuse: (problem: string) => never): PyDict {
  const [items = []] = args;
  if (items instanceof PyDict) return PyDict.of(items.entries);
  return PyDict.of(
    listOf(items, refuse).map((pair) => {
      const [key, value, surplus] = listOf(pair, refuse);
      if (key === undefined || value === undefined || surplus !== undefined) {
        return refuse('an item is no pair');
      }
      return [key, value];
    }),
  );
}

/** The items of a list, a tuple or a set. */
export function listOf(value: PyValue, refuse: (problem: string) => never): readonly PyValue[] {
  if (value instanceof PyTuple || value instanceof PySet) return value.items;
  return Array.isArray(value) ? value : refuse('it is not given a list');
}

/** `pathlib.PosixPath(*parts)`, as text. */
export const pathOf: Construct = (parts, refuse) => {
  const texts = parts.map((part) =>
    typeof part === 'string' ? part : refuse('a part is no text'),
  );
  return texts.join('/').replace(/^\/\//, '/');
};

/** `torch.device('cuda', 0)`, as `cuda:0`. */
export const deviceOf: Construct = ([type = null, index], refuse) => {
  if (typeof type !== 'string') return refuse('its type is no text');
  if (index === undefined || index === null) return type;
  return Number.isSafeInteger(index)
    ? `${type}:${Number(index)}`
    : refuse('its index is no integer');
};

/** `_codecs.encode(text, 'latin1')`: bytes, as protocol 2 spells them. */
export const latin1: Construct = ([text = null, encoding], refuse) => {
  if (typeof text !== 'string' || encoding !== 'latin1') return refuse('only latin1 text is read');
  return Uint8Array.from(text, (unit) => {
    const code = unit.charCodeAt(0);
    return code < 0x100 ? code : refuse('the text is not latin1');
  });
};

/** A parameter is its tensor. */
export const tensorFirst: Construct = ([tensor], refuse) =>
  tensor instanceof TorchTensor ? tensor : refuse('it is not given a tensor');

/** `_rebuild_from_type_v2(function, type, args, state)`: a tensor with attributes, which are left out. */
export const rebuildFromType: Construct = ([callable, , args], refuse) => {
  const isTensor =
    callable instanceof PyGlobal && callable.name.startsWith('torch._utils._rebuild_');
  if (!isTensor || !(args instanceof PyTuple)) return refuse('it does not make a tensor');
  return (callable.construct as Construct)(args.items, refuse);
};

/** NumPy's names of the dtypes that a number may have. */
const NUMPY_DTYPES: ReadonlyMap<PyValue, DType> = new Map([
  ['f8', 'F64'],
  ['f4', 'F32'],
  ['i8', 'I64'],
  ['i4', 'I32'],
  ['i2', 'I16'],
  ['i1', 'I8'],
  ['u8', 'U64'],
  ['u4', 'U32'],
  ['u2', 'U16'],
  ['u1', 'U8'],
  ['b1', 'BOOL'],
]);

/** `numpy.core.multiarray.scalar(dtype, bytes)`: a number. */
export const numpyScalar: Construct = ([type, bytes], refuse) => {
  const name = type instanceof PyObject ? type.args[0] : undefined;
  const dtype = NUMPY_DTYPES.get(name ?? null);
  if (dtype === undefined) return refuse(`numbers of ${spell(name)} are not read`);
  // The second item of the state is the order of bytes: '<' little-endian, '|' where there is none.
  const { state } = type as PyObject;
  const order = state instanceof PyTuple ? state.items[1] : undefined;
  if (order !== '<' && order !== '|') refuse('its number is not little-endian');
  if (!(bytes instanceof Uint8Array) || bytes.length !== tensorSizeBytes(dtype, [])) {
    return refuse('it does not have the bytes of one number');
  }
  const value = arrayOf(dtype, bytes)[0] as number | bigint;
  if (dtype === 'BOOL') return value !== 0;
  const number = Number(value);
  return typeof value === 'bigint' && !Number.isSafeInteger(number) ? value : number;
};
