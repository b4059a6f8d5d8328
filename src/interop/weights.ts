import type { StoredTensor } from '../format/checkpoint-file.ts';
import { bytesPerElement, tensorSizeBytes } from '../format/dtype.ts';
import type { TensorSpec } from '../format/tensor-layout.ts';
import type { OptionNames } from '../option-check.ts';
import { type Place, placeOf, refuseTaken, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import type { StorageWriter } from '../storages/storage.ts';
import { CONVERSION_NAMES, type Conversion, planConversion } from './conversion.ts';
import { contiguousStrides, gather } from './strided.ts';

/** A weight on its way out: its bytes are read, verified and converted when they are asked for. */
export interface Weight extends TensorSpec {
  read(): Promise<Uint8Array>;
  /** The same in parts, verified once all are read; absent where the elements are put in another order. */
  parts?(): AsyncIterable<Uint8Array>;
}

/** Where an export goes, and how. */
export interface ExportOptions extends Conversion, StorageOptions {
  /** Whether to replace what has the name. Default false. */
  readonly replace?: boolean | undefined;
}

export const EXPORT_NAMES: OptionNames<ExportOptions> = {
  ...CONVERSION_NAMES,
  ...STORAGE_NAMES,
  replace: true,
};

/** A checkpoint whose weights are on their way out. */
interface OpenWeights {
  readonly reader: CheckpointReader;
  readonly weights: readonly Weight[];
}

/** Opens a checkpoint, or any safetensors file, with its weights as a conversion makes them. */
export async function openWeights(
  from: string | URL,
  options: ExportOptions,
): Promise<OpenWeights> {
  const { storage, path } = await placeOf(from, options);
  const reader = await CheckpointReader.open(storage, path);
  const stored = reader.index.tensors.filter(({ group }) => group === 'model');
  const weights = planConversion(stored, options).map(({ name, index, axes }): Weight => {
    const tensor = stored[index] as StoredTensor;
    const { dtype, shape } = tensor;
    if (axes === undefined) return { name, dtype, shape, ...readingOf(reader, tensor) };
    const strides = contiguousStrides(shape);
    const view = {
      shape: axes.map((axis) => shape[axis] as number),
      strides: axes.map((axis) => strides[axis] as number),
      offset: 0,
    };
    const elementBytes = bytesPerElement(dtype);
    return {
      name,
      dtype,
      shape: view.shape,
      read: async () => gather(await reader.read(tensor), elementBytes, view),
    };
  });
  return { reader, weights };
}

/** {@link openWeights} of an export to one file, and where that goes: the name is free, or to be replaced. */
export async function openExport(
  from: string | URL,
  to: string | URL,
  options: ExportOptions,
): Promise<OpenWeights & Place & { readonly replace: boolean }> {
  const { replace = false } = options;
  const opened = await openWeights(from, options);
  const place = await placeOf(to, options);
  await refuseTaken(place, replace);
  return { ...opened, ...place, replace };
}

/** How a tensor is read as it lies in the file. */
export function readingOf(
  reader: CheckpointReader,
  tensor: StoredTensor,
): Pick<Required<Weight>, 'read' | 'parts'> {
  return { read: () => reader.read(tensor), parts: () => reader.parts(tensor) };
}

/** What is larger is read in parts, where its elements stay in their order. */
const LARGE_BYTES = 2 ** 30;

/** How much is read ahead: keeps a disk busy with many small weights, and bounds the memory. */
const AHEAD_BYTES = 32 * 2 ** 20;
const AHEAD_COUNT = 8;

/** The bytes of one weight: all of them, or what gives them in parts, each time it is called. */
export type WeightBytes = Uint8Array | (() => AsyncIterable<Uint8Array>);

/** The bytes of weights in their order, a few read ahead. */
export async function* bytesOf(weights: readonly Weight[]): AsyncIterable<WeightBytes> {
  const reading: { readonly bytes: Promise<WeightBytes>; readonly sizeBytes: number }[] = [];
  let ahead = 0;
  let next = 0;
  for (let taken = 0; taken < weights.length; taken++) {
    while (
      next < weights.length &&
      (next === taken || (ahead < AHEAD_BYTES && reading.length < AHEAD_COUNT))
    ) {
      const weight = weights[next++] as Weight;
      const sizeBytes = tensorSizeBytes(weight.dtype, weight.shape) ?? 0;
      const isLarge = sizeBytes > LARGE_BYTES && weight.parts !== undefined;
      const bytes: Promise<WeightBytes> = isLarge
        ? Promise.resolve(weight.parts as () => AsyncIterable<Uint8Array>)
        : weight.read();
      // Whoever stops reading on a failure leaves the others unobserved.
      bytes.catch(() => {});
      reading.push({ bytes, sizeBytes });
      ahead += sizeBytes;
    }
    const first = reading.shift() as (typeof reading)[number];
    ahead -= first.sizeBytes;
    yield await first.bytes;
  }
}

/** Writes the bytes of all weights, one after the other. */
export async function writeWeights(
  writer: StorageWriter,
  weights: readonly Weight[],
): Promise<void> {
  for await (const bytes of bytesOf(weights)) {
    if (bytes instanceof Uint8Array) await writer.write([bytes]);
    else for await (const part of bytes()) await writer.write([part]);
  }
}
