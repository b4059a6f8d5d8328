import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { JsonObject } from '../../../format/json.ts';
import type { NamedWeight } from '../named-weights.ts';

/** All that it takes to build a layers model again, beside its weights. */
export interface Architecture {
  /** As in a `model.json`. */
  readonly topology: JsonObject;
  /** Loss, metrics and optimizer as in a `model.json`; null when they cannot be spelt, as with a loss of your own. */
  readonly trainingConfig: JsonObject | null;
  /** Name in the checkpoint → name in tfjs's own files. */
  readonly weightNames: Readonly<Record<string, string>>;
}

export function architectureOf(model: LayersModel, weights: readonly NamedWeight[]): Architecture {
  const originalNames = new Map(
    model.weights.map((weight) => {
      const { originalName, val } = weight as unknown as { originalName: string; val: object };
      return [val, originalName];
    }),
  );
  return {
    topology: JSON.parse(model.toJSON() as string) as JsonObject,
    trainingConfig: trainingConfigOf(model),
    weightNames: Object.fromEntries(
      weights.map(({ name, variable }) => [name, originalNames.get(variable) ?? name]),
    ),
  };
}

function trainingConfigOf(model: LayersModel): JsonObject | null {
  if (!model.optimizer || hasFunction(model.loss) || hasFunction(model.metrics)) return null;
  const { getTrainingConfig } = model as unknown as { getTrainingConfig(): JsonObject };
  return JSON.parse(JSON.stringify(getTrainingConfig.call(model))) as JsonObject;
}

/** tfjs refuses to spell some functions and drops others. */
function hasFunction(spelling: unknown): boolean {
  if (typeof spelling === 'function') return true;
  if (typeof spelling !== 'object' || spelling === null) return false;
  return Object.values(spelling).some(hasFunction);
}
