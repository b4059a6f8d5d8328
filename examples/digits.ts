/**
 * Trains on 10,000 real handwritten digits, keeps the three best checkpoints and the last one, and goes on
 * from where it was when it is started again: `npm start`, `npm start -- --fresh --epochs 3 --out runs/other`.
 */
import '@tensorflow/tfjs-layers';
import { readFile, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import * as tf from '@tensorflow/tfjs-core';
import { DataLoader, HighwaterError, ModelCheckpoint, Rng, Trainer } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';

const USAGE = `npm start -- [--epochs N] [--out DIR] [--fresh]

  --epochs N   train until N epochs are done (default 5)
  --out DIR    where checkpoints go (default runs/digits)
  --fresh      forget what is in DIR and start over`;

interface Settings {
  readonly epochs: number;
  readonly out: string;
  readonly fresh: boolean;
}

function readArguments(): Settings {
  try {
    const { values } = parseArgs({
      options: {
        fresh: { type: 'boolean', default: false },
        epochs: { type: 'string', default: '5' },
        out: { type: 'string', default: 'runs/digits' },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    const epochs = Number(values.epochs);
    if (!Number.isSafeInteger(epochs) || epochs < 0) {
      throw new RangeError(`--epochs is '${values.epochs}', but it must be a whole number.`);
    }
    return { epochs, out: values.out, fresh: values.fresh };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
    process.exit(2);
  }
}

const { epochs, out, fresh } = readArguments();
const PIXELS = 784;
const require = createRequire(import.meta.url);

/** A batch: `x` is `[batch, 784] float32` in 0…1, `y` is `[batch] int32`. */
interface Batch {
  readonly x: Float32Array;
  readonly y: Int32Array;
}

class Digits {
  readonly #images: Float32Array;
  readonly #labels: Int32Array;
  readonly length: number;

  constructor(images: Float32Array, labels: Int32Array) {
    this.#images = images;
    this.#labels = labels;
    this.length = labels.length;
  }

  batch(indices: Uint32Array): Batch {
    const x = new Float32Array(indices.length * PIXELS);
    for (const [row, index] of indices.entries()) {
      x.set(this.#images.subarray(index * PIXELS, (index + 1) * PIXELS), row * PIXELS);
    }
    return { x, y: Int32Array.from(indices, (index) => this.#labels[index] ?? 0) };
  }
}

async function loadDigits(): Promise<{ train: Digits; val: Digits }> {
  const folder = join(dirname(require.resolve('mnist/package.json')), 'src', 'digits');
  const rows: { image: Float32Array; label: number }[] = [];
  for (let label = 0; label < 10; label++) {
    const text = await readFile(join(folder, `${label}.json`), 'utf8');
    const pixels = Float32Array.from((JSON.parse(text) as { data: number[] }).data);
    for (let at = 0; at + PIXELS <= pixels.length; at += PIXELS) {
      rows.push({ image: pixels.subarray(at, at + PIXELS), label });
    }
  }
  new Rng(1).shuffle(rows);
  const pack = (part: typeof rows): Digits => {
    const images = new Float32Array(part.length * PIXELS);
    for (const [index, { image }] of part.entries()) images.set(image, index * PIXELS);
    return new Digits(
      images,
      Int32Array.from(part, ({ label }) => label),
    );
  };
  const split = Math.floor(rows.length * 0.9);
  return { train: pack(rows.slice(0, split)), val: pack(rows.slice(split)) };
}

class Mlp extends TfjsModule<Batch> {
  readonly fc1 = dense(PIXELS, 128, 1);
  readonly fc2 = dense(128, 10, 2);

  #logits({ x, y }: Batch): tf.Tensor2D {
    const input = tf.tensor2d(x, [y.length, PIXELS]);
    const hidden = tf.relu(tf.add(tf.matMul(input, this.fc1.kernel), this.fc1.bias));
    return tf.add(tf.matMul(hidden as tf.Tensor2D, this.fc2.kernel), this.fc2.bias);
  }

  override trainingStep(batch: Batch): tf.Tensor {
    const labels = tf.oneHot(tf.tensor1d(batch.y, 'int32'), 10);
    const loss = tf.losses.softmaxCrossEntropy(labels, this.#logits(batch));
    this.log('train_loss', loss, { progBar: true });
    return loss;
  }

  override validationStep(batch: Batch): void {
    const guess = tf.argMax(this.#logits(batch), 1);
    const hits = tf.equal(guess, tf.tensor1d(batch.y, 'int32'));
    this.log('val_acc', tf.mean(tf.cast(hits, 'float32')), {
      batchSize: batch.y.length,
      progBar: true,
    });
  }

  override configureOptimizers(): tf.Optimizer {
    return tf.train.adam(0.001);
  }
}

function dense(
  inputs: number,
  outputs: number,
  seed: number,
): { kernel: tf.Variable<tf.Rank.R2>; bias: tf.Variable } {
  const stddev = Math.sqrt(2 / inputs);
  return {
    kernel: tf.variable(tf.randomNormal<tf.Rank.R2>([inputs, outputs], 0, stddev, 'float32', seed)),
    bias: tf.variable(tf.zeros([outputs])),
  };
}

/** What is kept, and what was removed over the whole run, from the journal beside the checkpoints. */
async function printSummary(): Promise<void> {
  const rows = [...checkpoint.bestKModels].map(([path, score]) => ({
    path,
    score: score.toFixed(4),
  }));
  if (checkpoint.lastModelPath) rows.push({ path: checkpoint.lastModelPath, score: 'last' });
  const kept = rows.map(async ({ path, score }) => ({
    kept: relative('.', path),
    val_acc: path === checkpoint.bestModelPath ? `${score} *` : score,
    kB: Math.round((await stat(path)).size / 1000),
  }));
  console.table(await Promise.all(kept));
  const journal = await readFile(join(checkpoint.dirpath, '.highwater/history.jsonl'), 'utf8');
  const removed = journal
    .split('\n')
    .filter((line) => line.includes('"kind":"removed"'))
    .map((line) => JSON.parse(line) as { path: string; reason: string });
  for (const { path, reason } of removed) console.log(`removed ${relative('.', path)}: ${reason}`);
}

setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm'))}/`);
await tf.setBackend('wasm');
// Only what this example writes: whatever else is in the folder stays.
if (fresh) await rm(join(out, 'checkpoints'), { recursive: true, force: true });

const { train, val } = await loadDigits();
const checkpoint = new ModelCheckpoint({
  monitor: 'val_acc',
  mode: 'max',
  saveTopK: 3,
  saveLast: true,
  filename: '{epoch}-{val_acc:.3f}',
});
const trainer = new Trainer({
  maxEpochs: epochs,
  defaultRootDir: out,
  logger: false,
  callbacks: [checkpoint],
});

const controller = new AbortController();
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    process.exitCode = EXIT_CODES[signal];
    controller.abort();
  });
}

try {
  await trainer.fit(new Mlp(), {
    trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true, seed: 7 }),
    valDataloaders: new DataLoader(val, { batchSize: 250 }),
    ckptPath: 'last',
    signal: controller.signal,
  });
  await printSummary();
} catch (error) {
  if (controller.signal.aborted) {
    console.log('Interrupted; everything is saved. Go on with the same command.');
  } else {
    console.error(error instanceof HighwaterError ? `${error.code}: ${error.message}` : error);
    process.exitCode = 1;
  }
}
