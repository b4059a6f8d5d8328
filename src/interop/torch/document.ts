import type { JsonObject, JsonValue } from '../../format/json.ts';
import { numbersOf } from '../../format/numbers.ts';
import { VERSION } from '../../version.ts';
import { LeftOut } from './left-out.ts';
import { checkpointStates } from './lightning.ts';
import { PyDict, PyTuple, type PyValue } from './pickle/python-values.ts';
import { PythonJson } from './python-json.ts';
import type { Saved } from './saved.ts';
import { TorchTensor } from './tensor.ts';
import type { TensorReader } from './tensor-reader.ts';

/** The most scalar tensors of callbacks that are read: Lightning stores one a kept checkpoint. */
const MAX_SCALARS = 100_000;

/** Members of a Lightning checkpoint that the document holds under names of its own. */
const TAKEN: ReadonlySet<PyValue> = new Set(['epoch', 'global_step', 'hyper_parameters']);

/** All that a checkpoint holds beside weights. */
export interface ImportedDocument {
  readonly document: JsonObject;
  /** The tensors that the document mentions, by index. */
  readonly extras: readonly TorchTensor[];
}

/** The document of a checkpoint made of what was saved. Scores of callbacks are read; no other tensor is. */
export async function documentOf(
  saved: Saved,
  reader: TensorReader,
  leftOut: LeftOut,
): Promise<ImportedDocument> {
  const { by, rest } = saved;
  const isLightning = by === 'lightning';
  const json = new PythonJson(new Map(), leftOut);
  const objectAt = (key: string): JsonObject => {
    const value = rest.get(key);
    return value instanceof PyDict ? ((json.of(value, key) ?? {}) as JsonObject) : {};
  };
  const others = [...rest.entries].filter(([key]) => !isLightning || !TAKEN.has(key));
  const content = json.of(PyDict.of(others), '') as JsonObject;
  const document: JsonObject = {
    epoch: isLightning ? countOf(rest.get('epoch')) : 0,
    globalStep: isLightning ? countOf(rest.get('global_step')) : 0,
    version: VERSION,
    kind: 'weights',
    sequence: 0,
    hyperParameters: isLightning ? objectAt('hyper_parameters') : {},
    callbacks: isLightning ? await statesOf(rest.get('callbacks'), reader) : {},
    imported: { from: by, content },
  };
  return { document, extras: json.tensors };
}

/** The states of ModelCheckpoints, whose scores are numbers here. What they cannot hold was told before. */
async function statesOf(callbacks: PyValue | undefined, reader: TensorReader): Promise<JsonObject> {
  if (!(callbacks instanceof PyDict)) return {};
  const scalars = await readScalars(callbacks, reader);
  const json = new PythonJson(scalars, new LeftOut());
  return checkpointStates(json.of(callbacks, 'callbacks') as JsonObject);
}

/** The tensors of one element among values, by what they hold: scores are tensors in Lightning. */
async function readScalars(
  value: PyValue,
  reader: TensorReader,
): Promise<ReadonlyMap<TorchTensor, number>> {
  const found = new Set<TorchTensor>();
  const seen = new Set<PyValue>();
  const waiting: PyValue[] = [value];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next !== 'object' || next === null || seen.has(next)) continue;
    seen.add(next);
    if (next instanceof TorchTensor) {
      const isScalar = next.shape.every((size) => size === 1) && next.dtype !== 'C64';
      if (isScalar && found.size < MAX_SCALARS) found.add(next);
    } else if (next instanceof PyDict) pushAll(waiting, next.entries.values());
    else if (next instanceof PyTuple) pushAll(waiting, next.items);
    else if (Array.isArray(next)) pushAll(waiting, next);
  }
  const scalars = new Map<TorchTensor, number>();
  for (const tensor of found) {
    const [number] = Array.from(numbersOf(tensor.dtype, await reader.read(tensor)));
    if (number !== undefined) scalars.set(tensor, number);
  }
  return scalars;
}

function pushAll(to: PyValue[], values: Iterable<PyValue>): void {
  for (const value of values) to.push(value);
}

function countOf(value: PyValue | undefined): JsonValue {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : 0;
}
