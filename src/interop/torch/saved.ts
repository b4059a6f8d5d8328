import { CheckpointFileError, MisconfigurationError } from '../../errors.ts';
import { quote } from '../../format/json-scanner.ts';
import type { LeftOut } from './left-out.ts';
import { isLightning } from './lightning.ts';
import { PyDict, type PyValue, spell } from './pickle/python-values.ts';
import { TorchTensor } from './tensor.ts';

/** The longest name of a weight. */
const MAX_NAME_LENGTH = 4096;

/** What `torch.save` was given, taken apart. */
export interface Saved {
  readonly by: 'pytorch' | 'lightning';
  /** In the order of the state dict. */
  readonly weights: readonly { readonly name: string; readonly tensor: TorchTensor }[];
  /** What was saved beside the weights; empty for a plain state dict. */
  readonly rest: PyDict;
}

/**
 * Finds the weights. A dict of tensors is a state dict, and a checkpoint of Lightning has one; of anything else
 * the caller must say where it is, since nothing is guessed.
 *
 * @throws MisconfigurationError when that was not said, or is not so; CheckpointFileError for what has no weights.
 */
export function savedBy(value: PyValue, stateDict: string | undefined, leftOut: LeftOut): Saved {
  if (!(value instanceof PyDict)) {
    throw new CheckpointFileError(
      `it holds ${spell(value)}, and weights come as a dict of tensors: in Python, save model.state_dict()`,
    );
  }
  const apart = (key: string, by: Saved['by']): Saved => ({
    by,
    rest: PyDict.of([...value.entries].filter(([name]) => name !== key)),
    weights: weightsOf(value.get(key) as PyDict, leftOut),
  });
  if (stateDict === undefined && isLightning(value)) return apart('state_dict', 'lightning');
  if (stateDict !== undefined) {
    if (value.get(stateDict) instanceof PyDict) return apart(stateDict, 'pytorch');
    throw new MisconfigurationError(
      `stateDict: there is no dict under ${quote(stateDict)}. There are ${candidates(value)}.`,
      { details: { stateDict } },
    );
  }
  const isStateDict = [...value.entries].every(
    ([key, item]) => item instanceof TorchTensor || isExtraState(key),
  );
  if (isStateDict) {
    return { by: 'pytorch', rest: new PyDict(), weights: weightsOf(value, leftOut) };
  }
  throw new MisconfigurationError(
    `The file holds more than weights. Say under which key they are, as stateDict: 'model'. There are ` +
      `${candidates(value)}.`,
  );
}

function weightsOf(dict: PyDict, leftOut: LeftOut): Saved['weights'] {
  const weights: { name: string; tensor: TorchTensor }[] = [];
  for (const [name, tensor] of dict.entries) {
    if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH) {
      throw new CheckpointFileError(
        `the name of a weight is ${typeof name === 'string' ? `${name.length} letters long` : 'no text'}`,
      );
    }
    if (tensor instanceof TorchTensor) weights.push({ name, tensor });
    else leftOut.add(name, `${spell(tensor)} among the weights`);
  }
  return weights;
}

/** What `torch.nn.Module.get_extra_state` gave: of any kind. */
function isExtraState(key: PyValue): boolean {
  return typeof key === 'string' && key.endsWith('_extra_state');
}

/** The keys under which there are dicts. */
function candidates(value: PyDict): string {
  const keys = [...value.entries].flatMap(([key, item]) =>
    typeof key === 'string' && item instanceof PyDict ? [quote(key)] : [],
  );
  return keys.length === 0 ? 'no dicts in it' : `dicts under ${keys.slice(0, 20).join(', ')}`;
}
