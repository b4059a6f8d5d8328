import { KeptModels } from '../../checkpoint/kept-models.ts';
import { initialState, type MonitorKey, stateKeyOf, stateToJson } from '../../checkpoint/state.ts';
import { type JsonObject, type JsonValue, TensorRef } from '../../format/json.ts';
import { PyDict, type PyValue } from './pickle/python-values.ts';

/** What a checkpoint of Lightning says of its version; also what tells that it is one. */
export const VERSION_KEY = 'pytorch-lightning_version';

/** Whether a value is a checkpoint of PyTorch Lightning. */
export function isLightning(value: PyValue): value is PyDict {
  return (
    value instanceof PyDict &&
    value.get('state_dict') instanceof PyDict &&
    value.entries.has(VERSION_KEY)
  );
}

/**
 * The states of Lightning's ModelCheckpoints as ours: by our keys, each as a `ModelCheckpoint` would have stored
 * it. States of other callbacks are not among them.
 *
 * Source: PyTorch Lightning 2.x, `callbacks/model_checkpoint.py`, `state_key`, `state_dict`.
 *
 * @param callbacks `checkpoint['callbacks']`, with scores as numbers.
 */
export function checkpointStates(callbacks: JsonObject): JsonObject {
  const states: Record<string, JsonValue> = {};
  for (const [key, state] of Object.entries(callbacks)) {
    const monitorKey = readKey(key);
    if (monitorKey === undefined || !isObject(state)) continue;
    const ours = stateKeyOf(monitorKey);
    let unique = ours;
    for (let n = 2; Object.hasOwn(states, unique); n++) unique = `${ours}#${n}`;
    states[unique] = stateOf(state, monitorKey.mode);
  }
  return states;
}

function stateOf(state: JsonObject, mode: 'min' | 'max'): JsonObject {
  const text = (key: string): string => {
    const value = state[key];
    return typeof value === 'string' ? value : '';
  };
  const number = (key: string): number | undefined => {
    const value = state[key];
    return typeof value === 'number' ? value : undefined;
  };
  const kept = isObject(state.best_k_models) ? Object.entries(state.best_k_models) : [];
  const initial = initialState(mode, text('dirpath'));
  return stateToJson({
    ...initial,
    bestModelPath: text('best_model_path'),
    bestModelScore: number('best_model_score'),
    bestKModels: KeptModels.from(
      kept.filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
    ),
    kthBestModelPath: text('kth_best_model_path'),
    kthValue: number('kth_value') ?? initial.kthValue,
    lastModelPath: text('last_model_path'),
    currentScore: number('current_score'),
  });
}

/** `ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min', …}`, as Python's `repr` writes it. */
function readKey(key: string): MonitorKey | undefined {
  const [, fields] = /^ModelCheckpoint(\{.*\})$/s.exec(key) ?? [];
  if (fields === undefined) return undefined;
  const spelt = (name: string): string | undefined =>
    new RegExp(
      `'${name}': ('(?:[^'\\\\]|\\\\.)*'|"(?:[^"\\\\]|\\\\.)*"|datetime\\.timedelta\\([^)]*\\)|[^,}]*)`,
    ).exec(fields)?.[1];
  const mode = unquoted(spelt('mode'));
  if (mode !== 'min' && mode !== 'max') return undefined;
  const onTrainEpochEnd = spelt('save_on_train_epoch_end');
  return {
    monitor: unquoted(spelt('monitor')),
    mode,
    everyNTrainSteps: Number(spelt('every_n_train_steps') ?? 0) || 0,
    everyNEpochs: Number(spelt('every_n_epochs') ?? 0) || 0,
    trainTimeIntervalMs: milliseconds(spelt('train_time_interval')),
    saveOnTrainEpochEnd:
      onTrainEpochEnd === 'True' ? true : onTrainEpochEnd === 'False' ? false : undefined,
  };
}

function unquoted(spelling: string | undefined): string | undefined {
  const [, , text] = /^(['"])(.*)\1$/s.exec(spelling ?? '') ?? [];
  return text?.replace(/\\(['"\\])/g, '$1');
}

/** `datetime.timedelta(days=1, seconds=3600, microseconds=5)`. */
function milliseconds(spelling: string | undefined): number | undefined {
  if (spelling?.startsWith('datetime.timedelta(') !== true) return undefined;
  const part = (name: string): number =>
    Number(new RegExp(`${name}=(-?\\d+)`).exec(spelling)?.[1] ?? 0);
  return 86_400_000 * part('days') + 1000 * part('seconds') + part('microseconds') / 1000;
}

function isObject(value: JsonValue | undefined): value is JsonObject {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof TensorRef)
  );
}
