import { CheckpointFileError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { type LogOptions, REDUCTIONS, type ResolvedLogOptions } from './log-options.ts';

/** The metrics of a run as a checkpoint stores them. */
export interface StoredMetrics {
  readonly visible: readonly (readonly [string, number, number, boolean, boolean])[];
  readonly train: readonly (readonly [
    string,
    Omit<ResolvedLogOptions, 'reduceFx' | 'syncDist'> & Pick<LogOptions, 'reduceFx' | 'syncDist'>,
    { readonly sum: number; readonly weight: number },
    boolean?,
  ])[];
}

/** @throws CheckpointFileError naming the metric that is not in the form of {@link StoredMetrics}. */
export function storedMetrics(state: JsonValue): StoredMetrics {
  const { visible, train } = (state ?? {}) as JsonObject;
  const check = (list: JsonValue | undefined, isValid: (entry: JsonValue) => boolean): void => {
    const wrong = Array.isArray(list) ? list.findIndex((entry) => !isValid(entry)) : -2;
    if (wrong === -1) return;
    const what = wrong === -2 ? list : (list as readonly JsonValue[])[wrong];
    throw new CheckpointFileError(`The stored metrics hold ${JSON.stringify(what)}.`);
  };
  check(visible, (entry) => isTuple(entry, ['string', 'number', 'number', 'boolean', 'boolean']));
  check(train, (entry) => {
    if (!isTuple(entry, ['string', 'object', 'object'])) return false;
    const [, options, epoch, isBatchHook = true] =
      entry as unknown as StoredMetrics['train'][number];
    const { onStep, onEpoch, progBar, logger, reduceFx = 'mean', syncDist = false } = options ?? {};
    const flags: readonly unknown[] = [onStep, onEpoch, progBar, logger, syncDist, isBatchHook];
    const isReduction =
      REDUCTIONS.has(reduceFx) && flags.every((flag) => typeof flag === 'boolean');
    return isReduction && typeof epoch?.sum === 'number' && typeof epoch.weight === 'number';
  });
  return state as unknown as StoredMetrics;
}

function isTuple(value: JsonValue, types: readonly string[]): boolean {
  return Array.isArray(value) && types.every((type, i) => typeof value[i] === type);
}
