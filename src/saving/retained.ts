import type { EngineTensors } from '../engines/engine.ts';
import type { ReadableTensor } from './write-checkpoint.ts';

/** What keeps a tensor's values until they are written: its bytes, and how to let go of it. */
export type Retained = Pick<ReadableTensor, 'view' | 'read'> & { release(): void };

/** Takes hold of a tensor of the engine. O(1): its bytes are looked at when they are written. */
export function retained(engine: EngineTensors, handle: unknown): Retained {
  const owned = engine.retain(handle);
  return {
    view: () => engine.view?.(owned),
    read: () => engine.read(owned),
    release: () => engine.release(owned),
  };
}
