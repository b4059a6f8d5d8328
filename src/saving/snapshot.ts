import type { EngineState, StateEntry } from '../engines/engine.ts';
import type { JsonObject } from '../format/json.ts';
import { type Retained, retained } from './retained.ts';

/**
 * Everything a checkpoint holds, by reference, as it was at one hook. Training goes on while it is
 * written: the handles are owned aliases that keep their values. Released once, after the last write.
 */
export interface Snapshot {
  readonly document: JsonObject;
  readonly tensors: readonly Retained[];
  release(): void;
}

/**
 * Takes hold of a module's state. O(tensors): no byte is read or copied.
 *
 * @param state what to take; default: all that the module has now.
 */
export function takeSnapshot(
  engine: EngineState,
  document: JsonObject,
  extras: readonly Retained[],
  state: Iterable<StateEntry> = engine.state(),
): Snapshot {
  const tensors: Retained[] = [];
  for (const entry of state) tensors.push(retained(engine, entry, entry.handle));
  tensors.push(...extras);
  return {
    document,
    tensors,
    release: () => {
      for (const tensor of tensors) tensor.release();
    },
  };
}
