import type { EngineState, StateEntry } from '../engines/engine.ts';
import type { JsonObject } from '../format/json.ts';
import { type Retained, retained } from './retained.ts';
import type { ExtraTensor } from './user-values.ts';
import type { ReadableTensor } from './write-checkpoint.ts';

/** One tensor of a snapshot; its bytes are read when they are written. */
export type SnapshotTensor = ReadableTensor & Retained;

/**
 * Everything a checkpoint holds, by reference, as it was at one hook. Training goes on while it is
 * written: the handles are owned aliases that keep their values. Released once, after the last write.
 */
export interface Snapshot {
  readonly document: JsonObject;
  readonly tensors: readonly SnapshotTensor[];
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
  extras: readonly ExtraTensor[],
  state: Iterable<StateEntry> = engine.state(),
): Snapshot {
  const tensors: SnapshotTensor[] = [];
  for (const { group, name, dtype, shape, handle } of state) {
    tensors.push({ group, name, dtype, shape, ...retained(engine, handle) });
  }
  tensors.push(...extras);
  return {
    document,
    tensors,
    release: () => {
      for (const tensor of tensors) tensor.release();
    },
  };
}
