import * as tf from '@tensorflow/tfjs-core';
import { loadLayersModel } from '@tensorflow/tfjs-layers';
import { CheckpointFileError, MisconfigurationError } from '../../../errors.ts';
import type { DType } from '../../../format/dtype.ts';
import type { JsonObject } from '../../../format/json.ts';
import { checkOptionNames } from '../../../option-check.ts';
import { placeOf } from '../../../place.ts';
import type { Storage } from '../../../storages/storage.ts';
import {
  FOREIGN_RUN_NAMES,
  ForeignRun,
  type ForeignRunOptions,
} from '../../../trainer/foreign-run.ts';
import { openCheckpoint } from '../../../trainer/load-weights.ts';
import type { Architecture } from './architecture.ts';
import { ModelState } from './model-state.ts';

/** Where a checkpoint is. */
export interface HandlerOptions {
  /** Default: local files. */
  readonly storage?: Storage;
}

const TFJS_DTYPES: Partial<Record<DType, 'float32' | 'int32' | 'bool'>> = {
  F32: 'float32',
  I32: 'int32',
  BOOL: 'bool',
};

/**
 * What `tf.loadLayersModel` reads a checkpoint with: `await tf.loadLayersModel(fromCheckpoint(path))`. The model
 * comes compiled, unless its loss or metrics were functions of your own; its optimizer begins anew, see
 * {@link restore}. Full and weights-only files of {@link modelCheckpoint} and {@link toCheckpoint} will do.
 *
 * @throws (on loading) CheckpointFileError (`CHECKPOINT_INVALID`) for a file that does not hold the layers of a
 * model, HighwaterError (`CHECKPOINT_NOT_FOUND`).
 */
export function fromCheckpoint(path: string, options: HandlerOptions = {}): tf.io.IOHandler {
  checkOptionNames('fromCheckpoint', options, { storage: true });
  return {
    async load(): Promise<tf.io.ModelArtifacts> {
      const reader = await openCheckpoint(path, options);
      const { meta } = (reader.document?.engine ?? {}) as { readonly meta?: JsonObject };
      const architecture = meta?.layersModel as Architecture | undefined;
      if (architecture === undefined) {
        throw new CheckpointFileError(
          `'${reader.path}' holds weights, but not the layers they belong to: it was not saved in model.fit. ` +
            `Build the model in code, and load the weights with TfjsModule's loadFromCheckpoint.`,
          { details: { path: reader.path } },
        );
      }
      const weights = await reader.loadWeights();
      const specs = weights.map(({ name, dtype, shape }) => ({
        name: architecture.weightNames[name] ?? name,
        shape: [...shape],
        dtype: TFJS_DTYPES[dtype] ?? 'float32',
      }));
      return {
        format: 'layers-model',
        modelTopology: architecture.topology,
        weightSpecs: specs,
        weightData: joined(weights.map(({ bytes }) => bytes)),
        ...(architecture.trainingConfig === null
          ? {}
          : { trainingConfig: architecture.trainingConfig as unknown as tf.io.TrainingConfig }),
      };
    },
  };
}

/**
 * What `model.save` writes a checkpoint with: `await model.save(toCheckpoint('line.ckpt'))`. Weights and layers,
 * no optimizer; atomic and durable, and what was at the path is replaced.
 */
export function toCheckpoint(path: string, options: ForeignRunOptions = {}): tf.io.IOHandler {
  checkOptionNames('toCheckpoint', options, FOREIGN_RUN_NAMES);
  return {
    async save(artifacts: tf.io.ModelArtifacts): Promise<tf.io.SaveResult> {
      const model = await loadLayersModel(tf.io.fromMemory(artifacts));
      try {
        const loop = {
          state: new ModelState(model),
          hasValidation: false,
          position: () => ({ epoch: 0, globalStep: 0 }),
          content: () => ({}),
        };
        const run = new ForeignRun(loop, [], options);
        await run.saveCheckpoint(path, { weightsOnly: true });
      } finally {
        model.dispose();
      }
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
    },
  };
}

/**
 * What `tf.loadLayersModel` reads a `model.json` and the weights beside it with, from any storage and without
 * tfjs-node. To make a checkpoint of it:
 *
 * ```ts
 * const model = await tf.loadLayersModel(fromModelJson('old/model.json'));
 * await model.save(toCheckpoint('new.ckpt'));
 * ```
 *
 * @throws (on loading) StorageError (`STORAGE_NOTFOUND`), MisconfigurationError for what is no layers model.
 */
export function fromModelJson(path: string, options: HandlerOptions = {}): tf.io.IOHandler {
  checkOptionNames('fromModelJson', options, { storage: true });
  return {
    async load(): Promise<tf.io.ModelArtifacts> {
      const { storage, path: file } = await placeOf(path, options);
      const modelJson = parse(new TextDecoder().decode(await storage.read(file)), file);
      const folder = file.slice(0, file.lastIndexOf('/'));
      return await tf.io.getModelArtifactsForJSON(modelJson, async (manifest) => {
        const paths = manifest.flatMap((group) => group.paths);
        const shards: Uint8Array[] = [];
        for (const shard of paths) shards.push(await storage.read(`${folder}/${shard}`));
        return [manifest.flatMap((group) => group.weights), joined(shards)];
      });
    },
  };
}

function parse(text: string, file: string): tf.io.ModelJSON {
  let json: Partial<tf.io.ModelJSON> | null;
  try {
    json = JSON.parse(text) as Partial<tf.io.ModelJSON> | null;
  } catch (cause) {
    throw new CheckpointFileError(`'${file}' is not JSON, so it is no model.json.`, { cause });
  }
  const isLayers = json?.format === undefined || json.format === 'layers-model';
  if (json?.modelTopology == null || json.weightsManifest == null || !isLayers) {
    throw new MisconfigurationError(
      `'${file}' is not the model.json of a layers model: it needs modelTopology, weightsManifest and, if any, ` +
        `the format 'layers-model' (it has ${JSON.stringify(json?.format ?? null)}).`,
      { details: { path: file } },
    );
  }
  return json as tf.io.ModelJSON;
}

function joined(parts: readonly Uint8Array[]): ArrayBuffer {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes.buffer;
}
