/**
 * Trains a small module of one engine for 57 steps and prints its state, a line for each tensor: for another
 * process to compare. `tsx test/engines/print-state.ts tfjs|jax [how many modules to make before it]`.
 */
import { createHash } from 'node:crypto';
import type { Engine } from '../../src/engines/engine.ts';
import { stateOf } from '../../src/testing/engine-contract/check.ts';

const makers: Record<string, () => Promise<() => Engine>> = {
  async tfjs() {
    await import('@tensorflow/tfjs-backend-cpu');
    const tf = await import('@tensorflow/tfjs-core');
    const { layers, sequential } = await import('@tensorflow/tfjs-layers');
    const { TfjsModule } = await import('../../src/engines/tfjs/index.ts');
    tf.enableProdMode();
    await tf.setBackend('cpu');
    return () =>
      new (class extends TfjsModule<number> {
        readonly model = sequential({
          layers: [
            layers.dense({ units: 3, inputShape: [2], kernelInitializer: 'ones' }),
            layers.dense({ units: 1, kernelInitializer: 'ones' }),
          ],
        });
        readonly scale = [tf.variable(tf.scalar(0.5))];
        trainingStep(step: number) {
          const output = this.model.apply(tf.tensor2d([Math.sin(step), 0.5], [1, 2]));
          return tf.sum(tf.square(tf.mul(output as never, this.scale[0]!)));
        }
        configureOptimizers() {
          return tf.train.adam(0.01);
        }
      })();
  },
  async jax() {
    const { numpy: np, random } = await import('@jax-js/jax');
    const { JaxModule } = await import('../../src/engines/jax/index.ts');
    const { directions } = await import('../support/jax-optimizers.ts');
    return () =>
      new (class extends JaxModule {
        params = { fc: [{ kernel: random.normal(random.key(1), [2, 3]) }, { bias: np.ones([3]) }] };
        trainingStep(params: never, step: never, key: never) {
          const { fc } = params as typeof this.params;
          const noise = random.normal(key, [2]).add(np.sin(step));
          return np.sum(np.square(np.dot(noise, fc[0]!.kernel!).add(fc[1]!.bias!)));
        }
        configureOptimizers() {
          return { optimizer: directions.adam!(), learningRate: 0.01 };
        }
      })();
  },
};

/** The state after 57 steps, as text. */
export async function printedState(engine: string, before: number): Promise<string> {
  const make = await makers[engine]!();
  const modules = Array.from({ length: before + 1 }, make);
  const module = modules.at(-1)!;
  await module.setupOptimizers();
  for (let step = 0; step < 57; step++) {
    module.release(await module.trainStep(step, step, 1));
    await module.optimizerStep(undefined);
  }
  const tensors = await stateOf(module);
  return tensors
    .map(({ group, name, dtype, shape, bytes }) =>
      [group, name, dtype, `[${shape}]`, createHash('sha256').update(bytes).digest('hex')].join(
        ' ',
      ),
    )
    .join('\n');
}

const [, file = '', engine, before = '0'] = process.argv;
if (engine !== undefined && file.endsWith('print-state.ts')) {
  console.log(await printedState(engine, Number(before)));
}
