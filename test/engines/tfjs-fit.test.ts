import '@tensorflow/tfjs-backend-cpu';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import {
  type FitCheckpointOptions,
  modelCheckpoint,
  restore,
} from '../../src/engines/tfjs/index.ts';
import { ModelState } from '../../src/engines/tfjs/layers-model/model-state.ts';
import { memoryFiles } from '../../src/index.ts';
import { stateOf } from '../../src/testing/engine-contract/check.ts';
import { optimizers } from '../support/tfjs-optimizers.ts';

const wasm = createRequire(import.meta.url).resolve('@tensorflow/tfjs-backend-wasm');
setWasmPaths(`${dirname(wasm)}/`);
await tf.setBackend('cpu');

/** Two inputs, a hidden layer with normalization, one output; the same weights each time. */
function compiled(optimizer: tf.Optimizer = tf.train.adam(0.01)): tfl.Sequential {
  const kernelInitializer = () => tfl.initializers.glorotNormal({ seed: 3 });
  const model = tfl.sequential({
    layers: [
      tfl.layers.dense({ units: 4, inputShape: [2], kernelInitializer: kernelInitializer() }),
      tfl.layers.batchNormalization(),
      tfl.layers.dense({ units: 1, kernelInitializer: kernelInitializer() }),
    ],
  });
  model.compile({ optimizer, loss: 'meanSquaredError', metrics: ['mae'] });
  return model;
}

const x = tf.tensor2d(
  Array.from({ length: 40 }, (_, i) => Math.sin(i)),
  [20, 2],
);
const y = tf.sum(x, 1, true);
const validationData: [tf.Tensor, tf.Tensor] = [tf.slice(x, 0, 4), tf.slice(y, 0, 4)];
const fitting = { batchSize: 5, shuffle: false, verbose: 0, validationData };

/** Messages, and files in memory, for callbacks of one test. */
function place() {
  const messages: string[] = [];
  const say = (message: string): void => void messages.push(message);
  const options = { storage: memoryFiles(), console: { info: say, warn: say } };
  const make = (more: FitCheckpointOptions) =>
    modelCheckpoint({ ...options, dirpath: '/run', ...more });
  const files = async (): Promise<string[]> => {
    const names: string[] = [];
    for await (const { path, kind } of options.storage.list('/run')) {
      if (kind === 'file') names.push(path.slice('/run/'.length));
    }
    return names.sort();
  };
  return { options, messages, make, files };
}

const bits = async (model: tfl.LayersModel) => await stateOf(new ModelState(model));

describe('modelCheckpoint in model.fit', () => {
  it('keeps the best by a metric of the logs, and the last, with the attributes of ModelCheckpoint', async () => {
    const { make, files } = place();
    const checkpoint = make({ monitor: 'val_loss', saveTopK: 2, saveLast: true });
    const { history } = await compiled().fit(x, y, {
      ...fitting,
      epochs: 5,
      callbacks: checkpoint,
    });
    const losses = history.val_loss as number[];
    const best = [...losses].sort((a, b) => a - b).slice(0, 2);
    const scores = [...checkpoint.bestKModels.values()].sort((a, b) => a - b);
    expect(scores.map(Math.fround)).toEqual(best.map(Math.fround));
    expect(checkpoint.bestModelScore).toBe(scores[0]);
    expect(checkpoint.kthValue).toBe(scores[1]);
    expect(await files()).toHaveLength(3);
    expect(checkpoint.lastModelPath).toBe('/run/last.ckpt');
    const epoch = losses.indexOf(best[0]!);
    expect(checkpoint.bestModelPath).toBe(`/run/epoch=${epoch}-step=${4 * (epoch + 1)}.ckpt`);
  });

  it('saves in fitDataset as in fit', async () => {
    const { make, files } = place();
    const rows = Array.from({ length: 4 }, (_, i) => ({
      xs: tf.slice(x, [5 * i, 0], [5, 2]),
      ys: tf.slice(y, [5 * i, 0], [5, 1]),
    }));
    const dataset = { size: 4, iterator: async () => iteratorOf(rows) };
    const model = compiled();
    await model.fitDataset(dataset as never, {
      epochs: 2,
      verbose: 0,
      callbacks: make({ filename: '{epoch}-{step}-{loss:.0f}', saveTopK: -1 }),
    });
    expect(await files()).toEqual([
      expect.stringMatching(/^epoch=0-step=4-loss=\d\.ckpt$/),
      expect.stringMatching(/^epoch=1-step=8-loss=\d\.ckpt$/),
    ]);
  });

  it('saves within an epoch by steps, and says what a resume from there does', async () => {
    const { make, files, options, messages } = place();
    const checkpoint = make({ everyNTrainSteps: 3, saveTopK: -1 });
    await compiled().fit(x, y, { ...fitting, epochs: 2, callbacks: checkpoint });
    expect(await files()).toEqual(['epoch=0-step=3.ckpt', 'epoch=1-step=6.ckpt']);
    expect(messages).toEqual([expect.stringContaining('cannot begin in the middle of an epoch')]);
    expect(await restore(compiled(), '/run/epoch=1-step=6.ckpt', checkpoint, options)).toBe(1);
    expect(messages.at(-1)).toContain('will train that epoch from its beginning');
  });

  it('lets several callbacks share each snapshot', async () => {
    const { make, options } = place();
    const [byLoss, newest] = [make({ monitor: 'loss' }), make({ filename: 'newest-{epoch}' })];
    const model = compiled();
    await model.fit(x, y, { ...fitting, epochs: 2, callbacks: [byLoss, newest] });
    const [same, other] = [make({ monitor: 'loss' }), make({ filename: 'newest-{epoch}' })];
    const initialEpoch = await restore(model, 'last', newest, options);
    await model.fit(x, y, { ...fitting, epochs: 2, initialEpoch, callbacks: [same, other] });
    expect(same.bestModelPath).toBe(byLoss.bestModelPath);
    expect(other.bestModelPath).toBe(newest.bestModelPath);
  });

  it('holds no tensor more after a fit with it than without', async () => {
    const { make } = place();
    const model = compiled();
    await model.fit(x, y, { ...fitting, epochs: 1 });
    const held = async (callbacks: ReturnType<typeof make> | []): Promise<number> => {
      const before = tf.memory().numTensors;
      await model.fit(x, y, { ...fitting, epochs: 10, callbacks });
      return tf.memory().numTensors - before;
    };
    const without = await held([]);
    expect(await held(make({ everyNTrainSteps: 1, saveTopK: -1, saveLast: true }))).toBe(without);
  });

  it('ends fit when a save fails', async () => {
    const { make, options } = place();
    const storage = { ...options.storage, writer: () => Promise.reject(new Error('disk full')) };
    Object.setPrototypeOf(storage, Object.getPrototypeOf(options.storage));
    const fit = compiled().fit(x, y, {
      ...fitting,
      epochs: 3,
      callbacks: make({ storage: storage as never }),
    });
    await expect(fit).rejects.toMatchObject({ code: 'SAVE_FAILED' });
  });

  it('says that fit tells nobody when it fails', async () => {
    const { make, messages } = place();
    const callbacks = make({ saveOnException: true });
    await compiled().fit(x, y, { ...fitting, epochs: 1, callbacks });
    expect(messages).toEqual([expect.stringContaining('A Trainer does.')]);
  });
});

describe('restore', () => {
  it.each(Object.entries(optimizers))(
    'goes on to the bit with %s, in a fresh model',
    async (_, optimizer) => {
      const { make, options, files } = place();
      const wanted = { monitor: 'val_loss', saveTopK: 2, saveLast: true } as const;
      const uninterrupted = compiled(optimizer());
      const whole = modelCheckpoint({ ...wanted, storage: memoryFiles(), dirpath: '/run' });
      await uninterrupted.fit(x, y, { ...fitting, epochs: 6, callbacks: whole });

      await compiled(optimizer()).fit(x, y, { ...fitting, epochs: 3, callbacks: make(wanted) });
      const resumed = compiled(optimizer());
      const checkpoint = make(wanted);
      const initialEpoch = await restore(resumed, 'last', checkpoint, options);
      expect(initialEpoch).toBe(3);
      await resumed.fit(x, y, { ...fitting, epochs: 6, initialEpoch, callbacks: checkpoint });
      expect(await bits(resumed)).toEqual(await bits(uninterrupted));
      expect(checkpoint.bestKModels).toEqual(whole.bestKModels);
      const kept = [
        ...checkpoint.bestKModels.keys(),
        '/run/epoch=2-step=12.ckpt',
        '/run/last.ckpt',
      ];
      expect(kept).toEqual(expect.arrayContaining((await files()).map((name) => `/run/${name}`)));
    },
  );

  it('starts anew from last when there is none, and refuses best', async () => {
    const { make, options } = place();
    expect(await restore(compiled(), 'last', make({}), options)).toBe(0);
    await expect(restore(compiled(), 'best', make({}), options)).rejects.toThrow(
      `restore('best'): there is no checkpoint`,
    );
  });

  it('goes back to the best', async () => {
    const { make, options } = place();
    const checkpoint = make({ monitor: 'epoch', saveTopK: 2, saveLast: true });
    const model = compiled();
    await model.fit(x, y, { ...fitting, epochs: 3, callbacks: checkpoint });
    expect(await restore(model, 'best', '/run', options)).toBe(1);
  });

  it('warns when fit begins with another epoch', async () => {
    const { make, options, messages } = place();
    const model = compiled();
    await model.fit(x, y, { ...fitting, epochs: 2, callbacks: make({}) });
    await restore(model, 'last', '/run', options);
    await model.fit(x, y, { ...fitting, epochs: 3, callbacks: make({}) });
    expect(messages.at(-1)).toContain('fit(x, y, {initialEpoch: 2})');
  });

  it('refuses a model that does not fit, and changes nothing of it', async () => {
    const { make, options } = place();
    await compiled().fit(x, y, { ...fitting, epochs: 1, callbacks: make({}) });
    const other = tfl.sequential({ layers: [tfl.layers.dense({ units: 1, inputShape: [3] })] });
    other.compile({ optimizer: tf.train.adam(), loss: 'meanSquaredError' });
    const before = await bits(other);
    await expect(restore(other, 'last', '/run', options)).rejects.toMatchObject({
      code: 'CHECKPOINT_MISMATCH',
    });
    expect(await bits(other)).toEqual(before);
  });

  it('refuses a model that is not compiled, and a weights-only file', async () => {
    const { make, options } = place();
    const bare = tfl.sequential({ layers: [tfl.layers.dense({ units: 1, inputShape: [2] })] });
    await expect(restore(bare, 'last', '/run', options)).rejects.toThrow('model.compile');
    const checkpoint = make({ saveWeightsOnly: true });
    await compiled().fit(x, y, { ...fitting, epochs: 1, callbacks: checkpoint });
    const path = checkpoint.bestModelPath;
    await expect(restore(compiled(), path, '/run', options)).rejects.toThrow(
      'this is a weights-only checkpoint',
    );
  });
});

it('works on the wasm backend', async () => {
  await tf.setBackend('wasm');
  const { make, options } = place();
  const build = (): tfl.Sequential => compiled();
  const [input, output] = [tf.tensor2d([1, 2, 3, 4], [2, 2]), tf.tensor2d([1, 2], [2, 1])];
  const fit = { epochs: 2, shuffle: false, verbose: 0 };
  const model = build();
  await model.fit(input, output, { ...fit, callbacks: make({ saveLast: true }) });
  const fresh = build();
  expect(await restore(fresh, 'last', '/run', options)).toBe(2);
  expect(await bits(fresh)).toEqual(await bits(model));
  await tf.setBackend('cpu');
});

/** What a `tf.data.Dataset` gives `fitDataset`: tfjs disposes what it is handed. */
function iteratorOf(rows: readonly { xs: tf.Tensor; ys: tf.Tensor }[]) {
  let next = 0;
  return {
    next: async () => {
      const row = rows[next++];
      if (row === undefined) return { value: null, done: true };
      return { value: { xs: tf.clone(row.xs), ys: tf.clone(row.ys) }, done: false };
    },
  };
}
