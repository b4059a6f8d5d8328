import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { CheckpointReader } from '../../../saving/checkpoint-reader.ts';

/** What a model was restored from, for the callbacks of its next `fit`: their state is in it too. */
export interface Restored {
  readonly reader: CheckpointReader;
  readonly initialEpoch: number;
}

const restoredModels = new WeakMap<LayersModel, Restored>();

export function rememberRestored(model: LayersModel, restored: Restored): void {
  restoredModels.set(fittedModel(model), restored);
}

/** Once: a later `fit` goes on from the earlier one. */
export function takeRestored(model: LayersModel): Restored | undefined {
  const restored = restoredModels.get(fittedModel(model));
  restoredModels.delete(fittedModel(model));
  return restored;
}

/** A `Sequential` lets a model of its own train, and callbacks see that one. Source: tfjs-layers 4.22. */
function fittedModel(model: LayersModel): LayersModel {
  const { model: inner } = model as { readonly model?: LayersModel };
  return inner ?? model;
}
