import type { EngineTensors } from '../engines/engine.ts';
import type { CheckpointTensor } from '../format/checkpoint-file.ts';
import { arrayOf, type DType, dtypeOf } from '../format/dtype.ts';
import { type JsonObject, type JsonValue, TensorRef } from '../format/json.ts';
import { type Retained, retained } from './retained.ts';

/** A tensor outside any engine: what an engine's tensor comes back as from a checkpoint's own values. */
export interface HostTensor {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/**
 * Takes typed arrays and the engine's tensors out of nested values, leaving references, so that the rest
 * is JSON. Typed arrays are copied (they may change while the save waits); tensors are retained.
 */
export function extractTensors(
  values: Readonly<Record<string, unknown>>,
  engine: EngineTensors,
): { readonly document: JsonObject; readonly extras: readonly Retained[] } {
  const extras: Retained[] = [];

  const placeFor = ({ dtype, shape }: Omit<HostTensor, 'data'>): CheckpointTensor => {
    return { group: 'extra', name: String(extras.length), dtype, shape };
  };

  const refer = (tensor: Retained): TensorRef => {
    extras.push(tensor);
    return new TensorRef(tensor.name);
  };

  const convert = (value: unknown): JsonValue => {
    if (typeof value !== 'object' || value === null) return value as JsonValue;
    if (engine.isTensor(value)) {
      return refer(retained(engine, placeFor(engine.describe(value)), value));
    }
    if (ArrayBuffer.isView(value)) {
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
      const dtype = dtypeOf(value);
      const shape = [arrayOf(dtype, bytes).length];
      const place = placeFor({ dtype, shape });
      return refer({ ...place, read: async () => bytes, release: () => undefined });
    }
    if (Array.isArray(value)) return value.map(convert);
    if (!isPlain(value)) return value as unknown as JsonValue; // The encoder refuses it by its path.
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, convert(inner)]));
  };

  return { document: convert({ ...values }) as JsonObject, extras };
}

/** The reverse of {@link extractTensors}: references become typed arrays (1-D) or {@link HostTensor}s. */
export function restoreTensors(
  value: JsonValue | undefined,
  tensors: ReadonlyMap<string, HostTensor>,
): unknown {
  if (value instanceof TensorRef) {
    const tensor = tensors.get(value.name);
    if (tensor === undefined) return undefined;
    return tensor.shape.length === 1 ? tensor.data : tensor;
  }
  if (Array.isArray(value)) return value.map((inner: JsonValue) => restoreTensors(inner, tensors));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([key, inner]) => [
      key,
      restoreTensors(inner, tensors),
    ]),
  );
}

function isPlain(value: object): boolean {
  if (value instanceof TensorRef) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
