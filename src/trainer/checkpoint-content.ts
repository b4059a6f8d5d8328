import type { Callback } from '../callbacks/callback.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';

/** The version that is written into checkpoints. */
export const VERSION = '0.1.0';

/** Callbacks that have state, by their unique keys: equal ones get `#2`, `#3`… in order. */
export function callbacksByKey(callbacks: readonly Callback[]): ReadonlyMap<string, Callback> {
  const byKey = new Map<string, Callback>();
  for (const callback of callbacks) {
    if (callback.stateDict === undefined) continue;
    const key = callback.stateKey ?? callback.constructor.name;
    let unique = key;
    for (let n = 2; byKey.has(unique); n++) unique = `${key}#${n}`;
    byKey.set(unique, callback);
  }
  return byKey;
}

/** The state of every callback, by its key. */
export function callbackStates(callbacks: readonly Callback[]): JsonObject {
  const states: Record<string, JsonValue> = {};
  for (const [key, callback] of callbacksByKey(callbacks)) {
    states[key] = callback.stateDict?.() ?? null;
  }
  return states;
}
