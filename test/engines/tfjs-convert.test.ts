import '@tensorflow/tfjs-backend-cpu';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { afterAll, describe, expect, it } from 'vitest';
import {
  fromCheckpoint,
  fromModelJson,
  modelCheckpoint,
  TfjsModule,
  toCheckpoint,
} from '../../src/engines/tfjs/index.ts';
import { memoryFiles } from '../../src/index.ts';

await tf.setBackend('cpu');
const folder = mkdtempSync(join(tmpdir(), 'highwater-convert-'));
afterAll(() => rmSync(folder, { recursive: true }));

const { dense, conv2d, flatten, lstm, embedding, batchNormalization } = tfl.layers;

/** Architectures, each with the shape of its input. */
const models: Record<string, () => tfl.LayersModel> = {
  'a sequential model': () =>
    tfl.sequential({ layers: [dense({ units: 3, inputShape: [2] }), batchNormalization()] }),
  'a model with two branches': () => {
    const input = tfl.input({ shape: [2] });
    const [left, right] = [dense({ units: 2, name: 'left' }), dense({ units: 2, name: 'right' })];
    const sum = tfl.layers.add().apply([left.apply(input), right.apply(input)] as never);
    return tfl.model({ inputs: input, outputs: sum as tfl.SymbolicTensor });
  },
  'a model within a model': () =>
    tfl.sequential({
      layers: [
        tfl.sequential({ layers: [dense({ units: 4, inputShape: [2] })] }),
        dense({ units: 1 }),
      ],
    }),
  'a convolution': () =>
    tfl.sequential({
      layers: [
        conv2d({ filters: 2, kernelSize: 2, inputShape: [4, 4, 1] }),
        flatten(),
        dense({ units: 1 }),
      ],
    }),
  'an embedding and a recurrent layer': () =>
    tfl.sequential({
      layers: [
        embedding({ inputDim: 5, outputDim: 3, inputLength: 4 }),
        lstm({ units: 2, recurrentInitializer: 'glorotNormal' }) as tfl.RNN,
      ],
    }),
};

function predict(model: tfl.LayersModel): number[] {
  const [shape] = model.inputs.map((input) => input.shape.slice(1) as number[]);
  const size = shape!.reduce((product, length) => product * length, 1);
  const values = Array.from({ length: 3 * size }, (_, i) => i % 5);
  const output = model.predict(tf.tensor(values, [3, ...shape!])) as tf.Tensor;
  return [...output.dataSync()];
}

/** What tfjs-node's `file://` handler writes: model.json, and the weights in shards beside it. */
function fileHandler(name: string, shardBytes: number): tf.io.IOHandler {
  return {
    async save({ weightData, weightSpecs, ...artifacts }) {
      const data = new Uint8Array(weightData as ArrayBuffer);
      const paths: string[] = [];
      for (let at = 0; at < data.length; at += shardBytes) {
        paths.push(`${name}.shard${paths.length + 1}.bin`);
        writeFileSync(join(folder, paths.at(-1)!), data.subarray(at, at + shardBytes));
      }
      const weightsManifest = [{ paths, weights: weightSpecs }];
      writeFileSync(
        join(folder, `${name}.json`),
        JSON.stringify({ ...artifacts, weightsManifest }),
      );
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON({ ...artifacts }) };
    },
  };
}

describe.each(Object.entries(models))('%s', (name, make) => {
  it('comes from model.json through a checkpoint into loadLayersModel, the same', async () => {
    const model = make();
    await model.save(fileHandler('model', 16));
    const read = await tfl.loadLayersModel(fromModelJson(join(folder, 'model.json')));
    const path = join(folder, `${name}.ckpt`);
    await read.save(toCheckpoint(path));
    const loaded = await tfl.loadLayersModel(fromCheckpoint(path));
    expect(predict(loaded)).toEqual(predict(model));
    expect(loaded.getClassName()).toBe(model.getClassName());
  });
});

describe('fromCheckpoint', () => {
  const options = { storage: memoryFiles() };

  it('builds the model of a fit again, compiled', async () => {
    const model = models['a sequential model']!();
    model.compile({ optimizer: 'adam', loss: 'meanSquaredError', metrics: ['mae'] });
    for (const saveWeightsOnly of [false, true]) {
      const callbacks = modelCheckpoint({
        ...options,
        dirpath: `/${saveWeightsOnly}`,
        saveWeightsOnly,
      });
      await model.fit(tf.ones([4, 2]), tf.ones([4, 3]), { verbose: 0, callbacks });
      const loaded = await tfl.loadLayersModel(fromCheckpoint(callbacks.bestModelPath, options));
      expect(predict(loaded)).toEqual(predict(model));
      expect(loaded.optimizer.getClassName()).toBe('Adam');
      expect(loaded.loss).toBe('meanSquaredError');
    }
  });

  it('leaves compiling to the user when the loss is a function', async () => {
    const model = models['a sequential model']!();
    model.compile({ optimizer: 'sgd', loss: (y, p) => tf.mean(tf.square(tf.sub(y, p)), -1) });
    const callbacks = modelCheckpoint({ ...options, dirpath: '/own' });
    await model.fit(tf.ones([4, 2]), tf.ones([4, 3]), { verbose: 0, callbacks });
    const loaded = await tfl.loadLayersModel(fromCheckpoint(callbacks.bestModelPath, options));
    expect(predict(loaded)).toEqual(predict(model));
    expect(loaded.optimizer ?? undefined).toBeUndefined();
  });

  it('gives weights that a TfjsModule with the model as a property loads', async () => {
    class Holder extends TfjsModule {
      readonly model = models['a sequential model']!();
      trainingStep(): tf.Tensor {
        return tf.scalar(0);
      }
      configureOptimizers(): tf.Optimizer {
        return tf.train.sgd(1);
      }
    }
    const model = models['a sequential model']!();
    await model.save(toCheckpoint('/weights.ckpt', options));
    const holder = await Holder.loadFromCheckpoint('/weights.ckpt', {}, options);
    expect(predict(holder.model)).toEqual(predict(model));
  });

  it('says so when a checkpoint does not hold layers, or is not there', async () => {
    class Point extends TfjsModule<number> {
      readonly w = tf.variable(tf.ones([1]));
      trainingStep(): tf.Tensor {
        return tf.sum(this.w);
      }
      configureOptimizers(): tf.Optimizer {
        return tf.train.sgd(1);
      }
    }
    const { Trainer, ModelCheckpoint } = await import('../../src/index.ts');
    const checkpoint = new ModelCheckpoint({ dirpath: '/point' });
    const trainer = new Trainer({
      maxEpochs: 1,
      callbacks: checkpoint,
      storage: options.storage,
      logger: false,
      enableProgressBar: false,
    });
    await trainer.fit(new Point(), { trainDataloaders: [1] });
    const load = tfl.loadLayersModel(fromCheckpoint(checkpoint.bestModelPath, options));
    await expect(load).rejects.toThrow('holds weights, but not the layers they belong to');
    await expect(tfl.loadLayersModel(fromCheckpoint('/none.ckpt', options))).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    });
  });
});

describe('fromModelJson', () => {
  it.each([
    ['not JSON', '{', 'is not JSON'],
    [
      'a graph model',
      '{"format":"graph-model","modelTopology":{},"weightsManifest":[]}',
      'graph-model',
    ],
    ['something else', '[]', 'is not the model.json of a layers model'],
    ['null', 'null', 'is not the model.json of a layers model'],
  ])('refuses %s', async (_, text, message) => {
    const path = join(folder, 'bad.json');
    writeFileSync(path, text);
    await expect(tfl.loadLayersModel(fromModelJson(path))).rejects.toThrow(message);
  });

  it('says which file is missing', async () => {
    await expect(tfl.loadLayersModel(fromModelJson('/nowhere/model.json'))).rejects.toMatchObject({
      code: 'STORAGE_NOTFOUND',
    });
  });
});
