/**
 * The digits of `npm start` with jax-js: a small convolutional network with dropout, compiled. Keeps the three
 * best checkpoints and the last one, and goes on to the bit: `npm run example -- digits-jax`, `… --fresh`. Takes two to
 * four minutes.
 */
import { init, type Array as JaxArray, lax, nn, numpy as np, random } from '@jax-js/jax';
import type { LogOptions } from 'highwater';
import { JaxModule, type Logged, type ScaledOptimizer, type StepOutput } from 'highwater/jax';
import { scaleByAdam } from './digits/adam.ts';
import { trainDigits } from './digits/train.ts';

type Layer = { kernel: JaxArray; bias: JaxArray };
type Params = { conv1: Layer; conv2: Layer; fc: Layer };
/** As {@link JaxModule.toArrays} makes it of a batch of digits: `x` is flat, `[batch × 784] float32`, `y` `[batch] int32`. */
type Batch = { x: JaxArray; y: JaxArray };

const KEPT = 0.8;

class Cnn extends JaxModule<Params, Batch> {
  params: Params = {
    conv1: layer([8, 1, 5, 5], [8, 1, 1], 25, 1),
    conv2: layer([16, 8, 3, 3], [16, 1, 1], 72, 2),
    fc: layer([16 * 5 * 5, 10], [10], 400, 3),
  };

  /** `key` drops features at random; without one all stay. */
  #logits({ conv1, conv2, fc }: Params, x: JaxArray, key?: JaxArray): JaxArray {
    const images = x.reshape([-1, 1, 28, 28]);
    const first = nn.relu(lax.conv(images, conv1.kernel, [2, 2], 'VALID').add(conv1.bias));
    const second = nn.relu(lax.conv(first, conv2.kernel, [2, 2], 'VALID').add(conv2.bias));
    const features = second.reshape([-1, 16 * 5 * 5]);
    return np.dot(key === undefined ? features : dropout(features, key), fc.kernel).add(fc.bias);
  }

  override trainingStep(params: Params, { x, y }: Batch, key: JaxArray): StepOutput {
    const logs = nn.logSoftmax(this.#logits(params, x, key), -1);
    const loss = np.mean(np.sum(logs.mul(nn.oneHot(y, 10)), -1)).neg();
    return [loss.ref, { train_loss: loss }];
  }

  override validationStep(params: Params, { x, y }: Batch): Logged {
    const hits = np.equal(np.argmax(this.#logits(params, x), -1), y);
    return { val_acc: np.mean(hits.astype(np.float32)) };
  }

  override logOptions(name: string, batchSize: number): LogOptions {
    return { ...super.logOptions(name, batchSize), progBar: true };
  }

  override configureOptimizers(): ScaledOptimizer<Params> {
    return {
      optimizer: scaleByAdam() as ScaledOptimizer<Params>['optimizer'],
      learningRate: 0.002,
    };
  }
}

function layer(kernel: number[], bias: number[], inputs: number, seed: number): Layer {
  const values = random.normal(random.key(seed), kernel);
  return { kernel: values.mul(Math.sqrt(2 / inputs)), bias: np.zeros(bias) };
}

function dropout(features: JaxArray, key: JaxArray): JaxArray {
  const mask = random.bernoulli(key, KEPT, features.shape).astype(np.float32);
  return features.mul(mask).div(KEPT);
}

await init('wasm');
const about = {
  command: 'npm run example -- digits-jax',
  out: 'runs/digits-jax',
  epochs: 5,
  note: 'A convolutional network, in WebAssembly on one core: 5 epochs take two to four minutes.',
};
await trainDigits(about, () => new Cnn());
