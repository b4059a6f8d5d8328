import type { EngineTensors } from '../engines/engine.ts';
import type { CheckpointTensor } from '../format/checkpoint-file.ts';
import type { ReadableTensor } from './write-checkpoint.ts';

/** A tensor whose values are kept until they are written, then let go of. */
export interface Retained extends ReadableTensor {
  release(): void;
}

/** Takes hold of a tensor of the engine. O(1): its bytes are looked at when they are written. */
export function retained(
  engine: EngineTensors,
  tensor: CheckpointTensor,
  handle: unknown,
): Retained {
  return new EngineTensor(engine, tensor, engine.retain(handle));
}

/** A class, since a state has many: its methods are made once. */
class EngineTensor implements Retained {
  readonly group: CheckpointTensor['group'];
  readonly name: string;
  readonly dtype: CheckpointTensor['dtype'];
  readonly shape: readonly number[];
  readonly #engine: EngineTensors;
  readonly #owned: unknown;

  constructor(engine: EngineTensors, tensor: CheckpointTensor, owned: unknown) {
    this.group = tensor.group;
    this.name = tensor.name;
    this.dtype = tensor.dtype;
    this.shape = tensor.shape;
    this.#engine = engine;
    this.#owned = owned;
  }

  view(): Uint8Array | undefined {
    return this.#engine.view?.(this.#owned);
  }

  read(): Promise<Uint8Array> {
    return this.#engine.read(this.#owned);
  }

  release(): void {
    this.#engine.release(this.#owned);
  }
}
