import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { encodeHeader } from '../../src/format/safetensors.ts';
import type { TensorSpec } from '../../src/format/tensor-layout.ts';
import {
  type JsonObject,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  type Storage,
  Trainer,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** A folder that is gone when the tests of this file are done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'highwater-inspection-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

class Model extends ArrayModule<number> {
  constructor(hparams: JsonObject) {
    super({ weight: [0, 0, 0], bias: [1] });
    this.saveHyperparameters(hparams);
  }
  override trainingStep(loss: number): LossAndGradients {
    this.log('loss', loss);
    this.log('acc', 1 - loss);
    return { loss, gradients: { weight: [loss, -1, 0], bias: [0] } };
  }
}

/** Trains for real, a step for each loss, saving at each. */
export async function train(
  dirpath: string,
  losses: readonly number[],
  options: ModelCheckpointOptions = {},
  {
    storage,
    hparams = { lr: 0.125 },
    beside = [],
  }: {
    readonly storage?: Storage;
    readonly hparams?: JsonObject;
    /** Further callbacks, in the same folder. */
    readonly beside?: readonly ModelCheckpointOptions[];
  } = {},
): Promise<ModelCheckpoint> {
  const checkpoint = new ModelCheckpoint({
    dirpath,
    filename: '{step}',
    monitor: 'loss',
    everyNTrainSteps: 1,
    ...options,
  });
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    maxEpochs: 1,
    callbacks: [
      checkpoint,
      ...beside.map((options) => new ModelCheckpoint({ dirpath, ...options })),
    ],
    storage,
    console: { info() {}, warn() {} },
  });
  await trainer.fit(new Model(hparams), { trainDataloaders: losses });
  return checkpoint;
}

/** Writes a safetensors file as another tool would: no metadata of ours, no checksums. */
export function writeForeign(
  path: string,
  tensors: readonly (TensorSpec & { readonly bytes: Uint8Array })[],
): void {
  // One tensor, or several in the order that the format wants.
  writeFileSync(
    path,
    Buffer.concat([encodeHeader(tensors, {}), ...tensors.map(({ bytes }) => bytes)]),
  );
}

/** float32 numbers as a tensor. */
export function f32(name: string, values: readonly number[]): TensorSpec & { bytes: Uint8Array } {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  return { name, dtype: 'F32', shape: [values.length], bytes };
}

/** int32 numbers as a tensor. */
export function i32(name: string, values: readonly number[]): TensorSpec & { bytes: Uint8Array } {
  const bytes = new Uint8Array(Int32Array.from(values).buffer);
  return { name, dtype: 'I32', shape: [values.length], bytes };
}

/** All that an asynchronous iterable gives. */
export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
