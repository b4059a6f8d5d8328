import * as tf from '@tensorflow/tfjs-core';

/** A weight of a tfjs layer: its `val` is what training assigns to. */
export interface LayerWeight {
  readonly originalName: string;
  readonly val: tf.Variable;
}

/** What is used of a `tf.layers.Layer` or `LayersModel`; tfjs-layers itself is never imported. */
export interface Layer {
  readonly name: string;
  readonly weights: readonly LayerWeight[];
  readonly trainableWeights: readonly LayerWeight[];
  /** Of a model only. */
  readonly layers?: readonly Layer[];
  getClassName(): string;
}

export function isLayerWeight(value: object): value is LayerWeight {
  return 'originalName' in value && 'val' in value && value.val instanceof tf.Variable;
}

export function isLayer(value: unknown): value is Layer {
  return (
    typeof value === 'object' &&
    value !== null &&
    'trainableWeights' in value &&
    'weights' in value &&
    'getClassName' in value
  );
}

/**
 * The weights of a layer or model with names that another process gives to the same architecture:
 * the path of layers, then the weight's name as Keras has it (`dense_1.kernel`, `norm.moving_mean`).
 */
export function* layerWeights(
  layer: Layer,
  path: string,
  ancestors: readonly Layer[] = [],
): Iterable<readonly [name: string, variable: tf.Variable]> {
  const ofChildren = new Set<tf.Variable>();
  const lineage = [...ancestors, layer];
  for (const [segment, child] of children(layer)) {
    if (lineage.includes(child)) continue;
    for (const [name, variable] of layerWeights(child, `${path}.${segment}`, lineage)) {
      ofChildren.add(variable);
      yield [name, variable];
    }
  }
  for (const { originalName, val } of layer.weights) {
    if (!ofChildren.has(val)) yield [`${path}.${originalName.split('/').at(-1)}`, val];
  }
}

/** A model's layers; of a wrapper or RNN the layers and cells in its properties. */
function* children(layer: Layer): Iterable<readonly [segment: string, child: Layer]> {
  if (layer.layers !== undefined) {
    yield* stableNames(layer.layers);
    return;
  }
  for (const [key, value] of Object.entries(layer)) {
    if (isLayer(value)) yield [key, value];
    if (!Array.isArray(value)) continue;
    for (const [index, item] of value.entries()) {
      if (isLayer(item)) yield [`${key}.${index}`, item];
    }
  }
}

/**
 * Names as given, and `<class>_<n>` in place of those that tfjs made up from a counter of the process
 * (`dense_Dense3`): n counts from 1 within this model and class, past names that are taken.
 */
function stableNames(layers: readonly Layer[]): [string, Layer][] {
  const taken = new Set(layers.filter((layer) => !isGenerated(layer)).map(({ name }) => name));
  const counts = new Map<string, number>();
  return layers.map((layer) => {
    if (!isGenerated(layer)) return [layer.name, layer];
    const kind = snakeCase(layer.getClassName());
    let count = counts.get(kind) ?? 0;
    do count++;
    while (taken.has(`${kind}_${count}`));
    counts.set(kind, count);
    return [`${kind}_${count}`, layer];
  });
}

/** Source: tfjs-layers 4.22, the constructors of `Layer`, `Container` and `Sequential`. */
function isGenerated(layer: Layer): boolean {
  const kind = layer.getClassName();
  const prefixes =
    layer.layers === undefined
      ? [`${snakeCase(kind)}_${kind}`]
      : [kind.toLowerCase(), `${kind.toLowerCase()}_`];
  return prefixes.some(
    (prefix) => layer.name.startsWith(prefix) && /^\d+$/.test(layer.name.slice(prefix.length)),
  );
}

/** `BatchNormalization` → `batch_normalization`. Source: tfjs-layers 4.22, `toSnakeCase`. */
function snakeCase(className: string): string {
  return className
    .replace(/(.)([A-Z][a-z0-9]+)/g, '$1_$2')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase();
}
