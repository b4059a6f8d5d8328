/**
 * What checkpoints, and the Trainer itself, cost a training run: `npm run bench -- train [--json]`. The MLP of
 * the digits example (784-128-10, Adam, batches of 64) on tfjs's wasm backend, on random pixels.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
// Its gradients come with it: tfjs-core alone has none in Node.
import '@tensorflow/tfjs-layers';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { ModelCheckpoint, Trainer } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(7);
const STEPS = 200;
const SAVE_EVERY = 20;
const [BATCH, PIXELS, HIDDEN, CLASSES] = [64, 784, 128, 10];

tf.enableProdMode();
const require = createRequire(import.meta.url);
setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
await tf.setBackend('wasm');

interface Batch {
  readonly x: Float32Array;
  readonly y: Int32Array;
}

const batches: readonly Batch[] = Array.from({ length: STEPS }, (_, i) => ({
  x: Float32Array.from({ length: BATCH * PIXELS }, (_, j) => Math.abs(Math.sin(i * 7919 + j))),
  y: Int32Array.from({ length: BATCH }, (_, j) => (i + j) % CLASSES),
}));

const random = (shape: [number, number], seed: number): tf.Variable =>
  tf.variable(tf.randomNormal(shape, 0, 0.05, 'float32', seed));

class Mlp extends TfjsModule<Batch> {
  readonly w1 = random([PIXELS, HIDDEN], 1);
  readonly b1 = tf.variable(tf.zeros([HIDDEN]));
  readonly w2 = random([HIDDEN, CLASSES], 2);
  readonly b2 = tf.variable(tf.zeros([CLASSES]));

  loss({ x, y }: Batch): tf.Scalar {
    const input = tf.tensor2d(x, [BATCH, PIXELS]);
    const hidden = tf.relu(tf.add(tf.matMul(input, this.w1 as tf.Tensor2D), this.b1));
    const logits = tf.add(tf.matMul(hidden as tf.Tensor2D, this.w2 as tf.Tensor2D), this.b2);
    return tf.losses.softmaxCrossEntropy(tf.oneHot(tf.tensor1d(y, 'int32'), CLASSES), logits);
  }
  override trainingStep(batch: Batch): tf.Tensor {
    const loss = this.loss(batch);
    this.log('train_loss', loss);
    return loss;
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.001);
  }
}

/** Milliseconds of {@link STEPS} steps as tfjs's own guides write them, a turn of the event loop each. */
async function byHand(): Promise<number> {
  const module = new Mlp();
  const optimizer = tf.train.adam(0.001);
  const began = performance.now();
  for (const batch of batches) {
    optimizer.minimize(() => module.loss(batch))?.dispose();
    await tf.nextFrame();
  }
  const ms = performance.now() - began;
  optimizer.dispose();
  module.dispose();
  return ms;
}

/** Milliseconds of the same steps through the Trainer, from the first to the last. */
async function byTrainer(folder: string | undefined): Promise<number> {
  const module = new Mlp();
  let began = 0;
  let ms = 0;
  const clock = {
    onTrainStart: () => {
      began = performance.now();
    },
    onTrainEnd: () => {
      ms = performance.now() - began;
    },
  };
  const checkpoint =
    folder === undefined
      ? []
      : [new ModelCheckpoint({ dirpath: folder, everyNTrainSteps: SAVE_EVERY, saveLast: true })];
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableCheckpointing: folder !== undefined,
    maxEpochs: 1,
    callbacks: [clock, ...checkpoint],
  });
  await trainer.fit(module, { trainDataloaders: batches });
  module.dispose();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  return ms;
}

const root = await mkdtemp(join('runs', 'bench-'));
const rounds: { hand: number; plain: number; saving: number }[] = [];
for (let i = -1; i < ROUNDS; i++) {
  const found = {
    hand: await byHand(),
    plain: await byTrainer(undefined),
    saving: await byTrainer(join(root, String(i))),
  };
  if (i >= 0) rounds.push(found);
  note(`round ${i + 1} of ${ROUNDS}`);
}
await rm(root, { recursive: true, force: true });
const perStep = (of: (found: (typeof rounds)[number]) => number): string =>
  `${round(median(rounds.map(of)) / STEPS)} ms a step`;
report({
  benchmark: 'train',
  measure: 'steps',
  size: `every ${SAVE_EVERY} steps`,
  ratios: rounds.map(({ plain, saving }) => plain / saving),
  bar: { atLeast: 0.97 },
  detail: `steps/s saving ÷ not saving: ${perStep(({ saving }) => saving)}, ${perStep(({ plain }) => plain)}`,
});
report({
  benchmark: 'train',
  measure: 'trainer-step',
  size: 'digits MLP',
  ratios: rounds.map(({ hand, plain }) => plain / hand),
  bar: { atMost: 1.03 },
  detail: `Trainer ${perStep(({ plain }) => plain)}, a loop by hand ${perStep(({ hand }) => hand)}`,
});
