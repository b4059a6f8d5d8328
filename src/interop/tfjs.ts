import { lastPart } from '../checkpoint/folder.ts';
import { MisconfigurationError } from '../errors.ts';
import type { DType } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';
import { quote } from '../format/json-scanner.ts';
import { checkOptionNames } from '../option-check.ts';
import { placeOf, refuseTaken } from '../place.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { writeFile } from '../saving/write-file.ts';
import { VERSION } from '../version.ts';
import {
  EXPORT_NAMES,
  type ExportOptions,
  openWeights,
  type Weight,
  writeWeights,
} from './weights.ts';

/** TensorFlow.js's names of dtypes; those that it has none for are absent. */
const TFJS_DTYPES: Partial<Record<DType, string>> = {
  F32: 'float32',
  I32: 'int32',
  BOOL: 'bool',
  C64: 'complex64',
};

/** The weights lie beside the JSON, in one file: as `model.save('file://…')` writes them. */
const SUFFIX = '.weights.bin';

/**
 * Writes a checkpoint as TensorFlow.js's own files: a JSON and, beside it, the bytes of the weights
 * (`model.json` and `model.weights.bin`). Both are durable when this resolves, the JSON last, so that it never
 * names what is not there.
 *
 * A checkpoint saved in `model.fit` holds the layers too: then `tf.loadLayersModel` reads it. Of any other the
 * JSON has a `weightsManifest` alone, for `tf.io.loadWeights(json.weightsManifest, folder)`.
 *
 * @param from a checkpoint of Highwater, or any safetensors file.
 * @param to the JSON's name, ending in `.json`.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) for what is damaged; MisconfigurationError
 * (`MISCONFIGURATION`) for a conversion that does not fit, a dtype that TensorFlow.js does not have, and another
 * name; StorageError (`STORAGE_CONFLICT`) when one of the names is taken.
 */
export async function exportTfjs(
  from: string | URL,
  to: string | URL,
  options: ExportOptions = {},
): Promise<void> {
  checkOptionNames('exportTfjs', options, EXPORT_NAMES);
  const { reader, weights } = await openWeights(from, options);
  const { storage, path } = await placeOf(to, options);
  if (!path.endsWith('.json')) {
    throw new MisconfigurationError(
      `'${path}': TensorFlow.js's files are a JSON and the weights beside it. Name the JSON, as 'model.json'.`,
      { details: { path } },
    );
  }
  const stem = path.slice(0, -'.json'.length);
  const json = modelJson(reader, weights, `${lastPart(stem)}${SUFFIX}`);
  const replace = options.replace ?? false;
  for (const name of [path, stem + SUFFIX]) await refuseTaken({ storage, path: name }, replace);
  await writeFile(storage, stem + SUFFIX, { replace }, (writer) => writeWeights(writer, weights));
  await writeFile(storage, path, { replace }, async (writer) => {
    await writer.write([new TextEncoder().encode(JSON.stringify(json))]);
  });
}

/** What is stored of a layers model: as `engines/tfjs/layers-model` writes it. */
interface LayersModel {
  readonly topology: JsonObject;
  readonly trainingConfig: JsonObject | null;
  readonly weightNames: Readonly<Record<string, string>>;
}

function modelJson(reader: CheckpointReader, weights: readonly Weight[], file: string): object {
  const { meta } = (reader.document?.engine ?? {}) as { readonly meta?: JsonObject };
  const layers = meta?.layersModel as unknown as LayersModel | undefined;
  const specs = weights.map(({ name, dtype, shape }) => ({
    name: layers?.weightNames[name] ?? name,
    shape,
    dtype: tfjsDType(name, dtype),
  }));
  return {
    ...(layers === undefined
      ? {}
      : {
          format: 'layers-model',
          modelTopology: layers.topology,
          ...(layers.trainingConfig === null ? {} : { trainingConfig: layers.trainingConfig }),
        }),
    generatedBy: `Highwater ${VERSION}`,
    weightsManifest: [{ paths: [file], weights: specs }],
  };
}

function tfjsDType(name: string, dtype: DType): string {
  const known = TFJS_DTYPES[dtype];
  if (known !== undefined) return known;
  throw new MisconfigurationError(
    `The weight ${quote(name)} is ${dtype}, which TensorFlow.js does not have: it has F32, I32, BOOL and C64. ` +
      'Drop it, or export to another format.',
    { details: { name, dtype } },
  );
}
