/** Saves a model with tfjs alone when told to, and says how long it took: one line in, one number out. */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { type Backend, useBackend } from './backend.ts';
import { bigModel } from './big-model.ts';
import { mainThreadMs } from './main-thread.ts';

let model: LayersModel;
for await (const line of createInterface({ input: process.stdin })) {
  const [command, argument = '', backend] = line.split(' ');
  if (command === 'make') {
    await useBackend(backend as Backend);
    model = bigModel(Number(argument));
    console.log('made');
  } else {
    console.log(await milliseconds(command, argument));
  }
}

async function milliseconds(command: string | undefined, path: string): Promise<number> {
  if (command === 'model-save') return await mainThreadMs(() => model.save(fileHandler(path)));
  const arrays = model.weights.map((weight) => weight.read().dataSync() as Float32Array);
  const began = performance.now();
  writePlainly(path, arrays);
  return performance.now() - began;
}

/** Where tfjs saves to in Node. Source: tfjs-node 4.22, `io/file_system.ts`. */
function fileHandler(folder: string): tf.io.IOHandler {
  return {
    async save({ modelTopology, weightSpecs, weightData }) {
      const weights = tf.io.CompositeArrayBuffer.join(weightData);
      const manifest = [{ paths: ['weights.bin'], weights: weightSpecs }];
      await writeFile(
        join(folder, 'model.json'),
        JSON.stringify({ modelTopology, weightsManifest: manifest }),
      );
      await writeFile(join(folder, 'weights.bin'), Buffer.from(weights), 'binary');
      await rm(join(folder, 'weights.bin'));
      return { modelArtifactsInfo: { dateSaved: new Date(), modelTopologyType: 'JSON' } };
    },
  };
}

function writePlainly(path: string, arrays: readonly Float32Array[]): void {
  const file = openSync(path, 'w');
  for (const array of arrays) writeSync(file, array);
  fsyncSync(file);
  closeSync(file);
}
