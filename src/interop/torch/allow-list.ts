import {
  deviceOf,
  dictOf,
  latin1,
  listOf,
  numpyScalar,
  pathOf,
  rebuildFromType,
  tensorFirst,
} from './constructors.ts';
import { TORCH_DTYPES, TORCH_STORAGES } from './dtypes.ts';
import {
  type Construct,
  PyGlobal,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
} from './pickle/python-values.ts';
import { rebuildTensor } from './rebuild-tensor.ts';

/**
 * All names that a pickle may mention, and what calling them makes. Each makes a value of ours out of values;
 * none runs anything, opens anything or looks anything up.
 */
const ALLOWED: ReadonlyMap<string, PyValue> = new Map<string, PyValue>([
  ...TORCH_DTYPES,
  ...[
    // Containers of Python.
    ...under(['collections.OrderedDict'], dictOf),
    ...under(['collections.Counter'], dictOf),
    ...under(['collections.defaultdict'], (args, refuse) => dictOf(args.slice(1), refuse)),
    ...under(
      builtins('set', 'frozenset'),
      ([items = []], refuse) => new PySet(listOf(items, refuse)),
    ),
    // Named as what makes the values of a defaultdict, or as a type among hyper-parameters.
    ...builtins('dict', 'list', 'int', 'float', 'str', 'bool', 'tuple').map((n) => new PyGlobal(n)),
    ...under(['argparse.Namespace'], () => new PyObject('argparse.Namespace')),
    ...under(
      ['pathlib', 'pathlib._local'].flatMap((module) =>
        ['PosixPath', 'PurePosixPath', 'WindowsPath', 'PureWindowsPath', 'Path'].map(
          (name) => `${module}.${name}`,
        ),
      ),
      pathOf,
    ),
    // How protocol 2 spells `bytes`.
    ...under(['_codecs.encode'], latin1),
    ...under(['numpy.dtype'], (args) => new PyObject('numpy.dtype', args)),
    ...under(['numpy.core.multiarray.scalar', 'numpy._core.multiarray.scalar'], numpyScalar),

    // PyTorch.
    ...[...TORCH_STORAGES.keys()].map((name) => new PyGlobal(name)),
    ...under(['torch._utils._rebuild_tensor_v2'], (args, refuse) =>
      rebuildTensor(args, refuse, false),
    ),
    ...under(['torch._utils._rebuild_tensor_v3'], (args, refuse) =>
      rebuildTensor(args, refuse, true),
    ),
    ...under(['torch._utils._rebuild_parameter'], tensorFirst),
    ...under(['torch._utils._rebuild_parameter_with_state'], tensorFirst),
    ...under(['torch._tensor._rebuild_from_type_v2'], rebuildFromType),
    ...['torch.Tensor', 'torch.nn.parameter.Parameter'].map((name) => new PyGlobal(name)),
    ...under(['torch.Size'], ([items = []], refuse) => new PyTuple(listOf(items, refuse))),
    ...under(['torch.device'], deviceOf),
    ...under(['torch.serialization._get_layout'], ([name = null]) => name),

    // Lightning.
    ...under(
      [
        'pytorch_lightning.utilities.parsing.AttributeDict',
        'lightning.pytorch.utilities.parsing.AttributeDict',
        'lightning.fabric.utilities.data.AttributeDict',
        'lightning_fabric.utilities.data.AttributeDict',
      ],
      dictOf,
    ),
    // Keys of callbacks' states before 1.5.
    ...['pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint'].map((n) => new PyGlobal(n)),
    ...['pytorch_lightning.callbacks.early_stopping.EarlyStopping'].map((n) => new PyGlobal(n)),
  ].map((global) => [global.name, global] as const),
]);

/**
 * What a name in a pickle stands for; undefined when it is not allowed.
 *
 * @param further names of classes that are read as inert objects.
 */
export function resolverWith(further: readonly string[]): (name: string) => PyValue | undefined {
  const own = new Set(further);
  return (name) => {
    const known = ALLOWED.get(name);
    if (known !== undefined || !own.has(name)) return known;
    return new PyGlobal(name, (args) => new PyObject(name, args));
  };
}

function under(names: readonly string[], construct: Construct): PyGlobal[] {
  return names.map((name) => new PyGlobal(name, construct));
}

function builtins(...names: string[]): string[] {
  return names.flatMap((name) => [`builtins.${name}`, `__builtin__.${name}`]);
}
