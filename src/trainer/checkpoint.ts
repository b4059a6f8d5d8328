import type { JsonObject, JsonValue } from '../format/json.ts';

/**
 * What a checkpoint holds beside the weights, as `onSaveCheckpoint` and `onLoadCheckpoint` see it.
 * Hooks may add keys of their own: JSON values, typed arrays and the engine's tensors, nested at will.
 */
export interface Checkpoint {
  /** 0-based epoch in which it was saved. */
  readonly epoch: number;
  /** Optimizer steps taken. */
  readonly globalStep: number;
  /** The Highwater version that wrote it. */
  readonly version: string;
  readonly hyperParameters: JsonObject;
  readonly callbacks: { readonly [stateKey: string]: JsonValue };
  [key: string]: unknown;
}
