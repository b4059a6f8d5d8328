/**
 * The digits example, small: what `npm run crash` starts, kills, and starts again. `workload.ts <data> <out>`
 * trains on the digits in the file `data` until it is done. It prints `batch <n>` when the nth batch of the whole
 * training is done, `durable <globalStep>` for each save, and `stopped <globalStep>` when a signal has stopped it.
 */
import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import { CSVLogger, DataLoader, ModelCheckpoint, Trainer } from 'highwater';
import { Digits } from '../../examples/digits/data.ts';
import { Mlp, useWasm } from '../../examples/digits/mlp.ts';
import { unpackDigits } from './digits-file.ts';

const [, , data = '', out = ''] = process.argv;
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

tf.enableProdMode();
await useWasm();
const { train, val } = unpackDigits(await readFile(data));

const controller = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    process.exitCode = EXIT_CODES[signal];
    controller.abort();
  });
}

/** Tells the parent which saves it may rely on, by the steps in their names. */
class TellingLogger extends CSVLogger {
  afterSaveCheckpoint({ lastSave }: ModelCheckpoint): void {
    for (const path of lastSave?.paths ?? []) {
      const step = /step=(\d+)/.exec(path)?.[1];
      if (step !== undefined) process.stdout.write(`durable ${step}\n`);
    }
  }
}

const trainer: Trainer = new Trainer({
  maxEpochs: 4,
  accumulateGradBatches: 2,
  valCheckInterval: 0.5,
  logEveryNSteps: 1,
  defaultRootDir: out,
  enableProgressBar: false,
  onHookCompleted: (hook) => {
    if (hook !== 'trainBatchEnd') return;
    const { currentEpoch, numTrainingBatches, batchesInEpoch } = trainer;
    process.stdout.write(`batch ${currentEpoch * numTrainingBatches + batchesInEpoch}\n`);
  },
  logger: new TellingLogger({ saveDir: out, name: 'logs', version: 0 }),
  callbacks: [
    new ModelCheckpoint({
      dirpath: `${out}/best`,
      monitor: 'val_acc',
      mode: 'max',
      saveTopK: 2,
      saveLast: true,
      filename: '{epoch}-{step}-{val_acc:.3f}',
    }),
    new ModelCheckpoint({ dirpath: `${out}/steps`, everyNTrainSteps: 3, saveLast: 'link' }),
  ],
});

try {
  await trainer.fit(new Mlp(), {
    trainDataloaders: new DataLoader(new Digits(train.images, train.labels), {
      batchSize: 32,
      shuffle: true,
      seed: 7,
    }),
    valDataloaders: new DataLoader(new Digits(val.images, val.labels), { batchSize: 50 }),
    ckptPath: 'last',
    signal: controller.signal,
  });
} catch (error) {
  if (!controller.signal.aborted) throw error;
  process.stdout.write(`stopped ${trainer.globalStep}\n`);
}
