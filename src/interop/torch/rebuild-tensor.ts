import { bytesPerElement, tensorSizeBytes } from '../../format/dtype.ts';
import { PyDict, PyTuple, type PyValue, spell } from './pickle/python-values.ts';
import { TorchDType, TorchStorage, TorchTensor } from './tensor.ts';

type Refuse = (problem: string) => never;

/**
 * The tensor of `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks,
 * metadata)`, or of `_v3`, which has its dtype after the hooks, over an untyped storage.
 *
 * Source: PyTorch, `torch/_utils.py`.
 */
export function rebuildTensor(
  args: readonly PyValue[],
  refuse: Refuse,
  hasDType: boolean,
): TorchTensor {
  const [storage, offset, size, stride, , , ...rest] = args;
  if (!(storage instanceof TorchStorage)) return refuse('it is not given a storage');
  const [given, metadata = null] = hasDType ? rest : [storage.dtype, ...rest];
  if (!(given instanceof TorchDType)) return refuse('it is not given a dtype');
  refuseLazyViews(metadata, refuse);
  const { dtype, name } = given;
  if (dtype === undefined) {
    return refuse(
      `a tensor is of ${name}, which safetensors has no dtype for: convert it in Python first`,
    );
  }
  const shape = countsOf(size, 'size', refuse);
  const strides = countsOf(stride, 'stride', refuse);
  if (shape.length !== strides.length) refuse('a tensor has not one stride for each dimension');
  if (!isCount(offset)) return refuse('the offset of a tensor is no count');
  const tensor = new TorchTensor(storage, dtype, offset, shape, strides);
  const { offset: begin, length } = tensor.extent;
  const fits = Number.isSafeInteger(length) && begin + length <= storage.sizeBytes;
  if (tensorSizeBytes(dtype, shape) === undefined || !fits) {
    refuse(
      `a tensor of ${dtype} [${shape}] with strides [${strides}] from element ${offset} on does not fit into ` +
        `its storage of ${storage.sizeBytes / bytesPerElement(dtype)} elements`,
    );
  }
  return tensor;
}

/** What is conjugated or negated only when it is read has other values than its storage. */
function refuseLazyViews(metadata: PyValue, refuse: Refuse): void {
  if (metadata === null) return;
  if (!(metadata instanceof PyDict)) refuse('the metadata of a tensor are no dict');
  for (const [key, value] of metadata.entries) {
    if (value !== false) {
      refuse(
        `a tensor is a view that PyTorch works out when it is read (${spell(key)}): save ` +
          'tensor.resolve_conj().resolve_neg() instead',
      );
    }
  }
}

function countsOf(value: PyValue | undefined, what: string, refuse: Refuse): readonly number[] {
  const items = value instanceof PyTuple ? value.items : value;
  if (Array.isArray(items) && items.length > 64) refuse(`a tensor has ${items.length} dimensions`);
  if (!Array.isArray(items) || !items.every(isCount)) {
    return refuse(`the ${what} of a tensor is no tuple of counts`);
  }
  return items;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}
