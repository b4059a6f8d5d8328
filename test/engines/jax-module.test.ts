import { type Array as JaxArray, numpy as np, random } from '@jax-js/jax';
import { describe, expect, it } from 'vitest';
import {
  JaxModule,
  type JaxOptimizer,
  type Logged,
  type ScaledOptimizer,
  type StepOutput,
} from '../../src/engines/jax/index.ts';
import { MisconfigurationError } from '../../src/errors.ts';
import { DataLoader, ModelCheckpoint, memoryFiles, Trainer } from '../../src/index.ts';
import { stateOf } from '../../src/testing/engine-contract/check.ts';
import { directions } from '../support/jax-optimizers.ts';

type Params = { layers: { kernel: JaxArray }[]; bias: JaxArray };
type Batch = { x: JaxArray; y: JaxArray };
type Sample = { x: Float32Array; y: number };

/** Dropout, two nested layers, metrics from both steps. */
class Net extends JaxModule<Params, Batch> {
  params: Params = {
    layers: [{ kernel: normal([2, 3], 1) }, { kernel: normal([3, 1], 2) }],
    bias: np.zeros([1]),
  };

  #output({ layers, bias }: Params, x: JaxArray): JaxArray {
    const [first, second] = layers.map(({ kernel }) => kernel);
    return np.dot(np.tanh(np.dot(x.reshape([-1, 2]), first!)), second!).add(bias);
  }

  trainingStep(params: Params, { x, y }: Batch, key: JaxArray): StepOutput {
    const noise = random.normal(key, [1]).mul(0.01);
    const loss = np.mean(np.square(this.#output(params, x).add(noise).sub(y)));
    return [loss.ref, { loss }];
  }

  override validationStep(params: Params, { x, y }: Batch): Logged {
    return { val_loss: np.mean(np.abs(this.#output(params, x).sub(y))) };
  }

  override predictStep(params: Params, { x, y }: Batch): JaxArray {
    y.dispose();
    return this.#output(params, x);
  }

  configureOptimizers(): JaxOptimizer<Params> | ScaledOptimizer<Params> {
    return { optimizer: directions.adam!() as JaxOptimizer<Params>, learningRate: 0.01 };
  }
}

function normal(shape: number[], seed: number): JaxArray {
  return random.normal(random.key(seed), shape);
}

const samples = Array.from({ length: 12 }, (_, i): Sample => {
  const x = Float32Array.of(Math.sin(i), Math.cos(i));
  return { x, y: x[0]! + x[1]! };
});
const quiet = { logger: false, enableProgressBar: false, numSanityValSteps: 0 } as const;

describe('JaxModule in the Trainer', () => {
  const loaders = () => ({
    trainDataloaders: new DataLoader(samples, {
      batchSize: 1,
      shuffle: true,
      seed: 5,
      collate: ([sample]) => sample,
    }),
    valDataloaders: samples.slice(0, 3),
  });

  it('resumes exactly in mid-epoch: weights, optimizer, keys, metrics and files', async () => {
    const run = async (storage: ReturnType<typeof memoryFiles>, maxSteps: number) => {
      const module = new Net();
      const checkpoint = new ModelCheckpoint({
        dirpath: '/run',
        monitor: 'loss',
        everyNTrainSteps: 1,
        saveTopK: 2,
        saveLast: true,
      });
      const trainer = new Trainer({ ...quiet, storage, maxSteps, callbacks: checkpoint });
      await trainer.fit(module, { ...loaders(), ckptPath: 'last' });
      return {
        state: await stateOf(module),
        kept: checkpoint.bestKModels,
        metrics: trainer.callbackMetrics,
      };
    };
    const whole = await run(memoryFiles(), 31);
    const storage = memoryFiles();
    await run(storage, 17);
    const resumed = await run(storage, 31);
    expect(resumed.state).toEqual(whole.state);
    expect(resumed.kept).toEqual(whole.kept);
    expect(resumed.metrics.loss).toBe(whole.metrics.loss);
    expect(whole.metrics.loss).toBeGreaterThan(0);
  });

  it('logs what the steps return, validation as a mean', async () => {
    const module = new Net();
    const trainer = new Trainer({ ...quiet, maxEpochs: 1, enableCheckpointing: false });
    await trainer.fit(module, loaders());
    const { loss, val_loss: mean } = trainer.callbackMetrics;
    expect(loss).toBeGreaterThanOrEqual(0);
    const errors: number[] = [];
    for (const { x, y } of samples.slice(0, 3)) {
      const output = (await module.evalStep('predict', { x, y })) as JaxArray;
      errors.push(Math.abs((output.dataSync()[0] ?? Number.NaN) - y));
    }
    expect(mean).toBeCloseTo(errors.reduce((sum, error) => sum + error) / 3, 5);
  });

  it('names parameters by the way to them, and reads what another run saved', async () => {
    const storage = memoryFiles();
    const checkpoint = new ModelCheckpoint({ dirpath: '/run', saveWeightsOnly: true });
    const trainer = new Trainer({ ...quiet, storage, maxSteps: 3, callbacks: checkpoint });
    const module = new Net();
    await trainer.fit(module, loaders());
    const loaded = await Net.loadFromCheckpoint(checkpoint.bestModelPath, {}, { storage });
    const weights = await stateOf(loaded, 'model');
    expect(weights.map(({ name }) => name)).toEqual(['layers.0.kernel', 'layers.1.kernel', 'bias']);
    expect(weights).toEqual(await stateOf(module, 'model'));
  });
});

describe('the learning rate', () => {
  it('changes without compiling anything again, and is restored', async () => {
    const module = new Net();
    module.setupOptimizers();
    let traces = 0;
    const { trainingStep } = module;
    module.trainingStep = (...given) => {
      traces++;
      return trainingStep.apply(module, given);
    };
    const step = async (): Promise<void> => {
      module.release(await module.trainStep(samples[0], 0, 1));
      await module.optimizerStep(undefined);
    };
    // The step logs, so it needs a Trainer.
    module.log = () => undefined;
    await step();
    module.learningRate = 0;
    const still = await stateOf(module, 'model');
    await step();
    expect(await stateOf(module, 'model')).toEqual(still);
    expect(traces).toBe(1);

    const other = new Net();
    other.setupOptimizers();
    other.load(await stateOf(module), module.meta(), { strict: true, weightsOnly: false });
    expect(other.learningRate).toBe(0);
  });

  it('is refused where the optimizer has its own, or when it is no number', () => {
    const module = new (class extends Net {
      override configureOptimizers(): JaxOptimizer<Params> {
        return directions.sgd!() as JaxOptimizer<Params>;
      }
    })();
    module.setupOptimizers();
    expect(module.learningRate).toBeUndefined();
    expect(() => {
      module.learningRate = 0.1;
    }).toThrow('configureOptimizers() must return {optimizer, learningRate}');
    const scaled = new Net();
    scaled.setupOptimizers();
    expect(() => {
      scaled.learningRate = Number.NaN;
    }).toThrow('learningRate cannot be set to NaN');
  });
});

describe('mistakes', () => {
  it('a log within a step says to return the value', async () => {
    const module = new (class extends Net {
      override trainingStep(...given: Parameters<Net['trainingStep']>): StepOutput {
        const [loss, logged] = super.trainingStep(...given) as [JaxArray, Logged];
        this.log('loss', logged.loss);
        return loss;
      }
    })();
    const trainer = new Trainer({ ...quiet, maxEpochs: 1, enableCheckpointing: false });
    const fit = trainer.fit(module, { trainDataloaders: samples });
    await expect(fit).rejects.toThrow(`[loss, {'loss': value}] from trainingStep`);
  });

  it('a step without a loss says what it must return', async () => {
    const module = new (class extends Net {
      override trainingStep(): StepOutput {
        return undefined as unknown as StepOutput;
      }
    })();
    module.setupOptimizers();
    await expect(module.trainStep(samples[0], 0, 1)).rejects.toThrow(
      'trainingStep must return the loss, a scalar array, or [loss, {name: value}]',
    );
  });

  it.each([
    [undefined, 'returned undefined, but it must return an optimizer with init(params) and'],
    [() => undefined, 'returned a function, but'],
    [{ init: () => [] }, 'returned {init}, but'],
    [Promise.resolve(directions.sgd!()), 'returned a Promise, but'],
    [{ optimizer: directions.sgd!(), learningRate: '0.1' }, 'learningRate is 0.1, but'],
    [
      { optimizer: directions.sgd!(), learning_rate: 0.1 },
      "has no option 'learning_rate' (did you mean 'learningRate'?)",
    ],
  ])('an optimizer that is none is refused: %j', (given, message) => {
    const module = new (class extends Net {
      override configureOptimizers(): JaxOptimizer<Params> {
        return given as never;
      }
    })();
    expect(() => module.setupOptimizers()).toThrow(MisconfigurationError);
    expect(() => module.setupOptimizers()).toThrow(message);
  });

  it('a batch that jax-js cannot compute with says what to do', async () => {
    const module = new Net();
    module.setupOptimizers();
    await expect(module.trainStep({ x: 'text', y: 1 }, 0, 1)).rejects.toThrow(
      'Override toArrays(batch)',
    );
  });

  it('two parameters of one name are refused', () => {
    const params = { 'a.b': np.zeros([1]), a: { b: np.zeros([1]) } };
    const module = new (class extends Net {
      override params = params as never;
    })();
    expect(() => [...module.state()]).toThrow(`Two arrays are named 'a.b'`);
  });

  it('a state saved uncompiled goes on uncompiled', async () => {
    const plain = new (class extends Net {
      override readonly jit = false;
    })();
    plain.setupOptimizers();
    const module = new Net();
    module.setupOptimizers();
    module.load(await stateOf(plain), plain.meta(), { strict: true, weightsOnly: false });
    expect(module.meta()).toEqual(plain.meta());
  });
});

it.each(['float32', 'int32', 'uint32', 'bool'] as const)(
  'saves and restores %s to the bit',
  async (dtype) => {
    const make = (values: number[]) => np.array(values, { dtype: dtype as never });
    const open = (values: number[]) =>
      new (class extends Net {
        override params = { value: make(values) } as never;
      })();
    const [module, other] = [open([0, 1, 1]), open([1, 0, 0])];
    const saved = await stateOf(module, 'model');
    other.load(saved, {}, { strict: true, weightsOnly: true });
    expect(await stateOf(other, 'model')).toEqual(saved);
  },
);

it('refuses what jax-js cannot be given back here', () => {
  const module = new (class extends Net {
    override params = { value: np.zeros([1], { dtype: np.float16 }) } as never;
  })();
  const isReadable = 'Float16Array' in globalThis;
  if (isReadable) expect([...module.state()]).not.toEqual([]);
  else expect(() => [...module.state()]).toThrow(`'value' (model) is of dtype float16`);
});

it.each<[string, unknown, string, number[]]>([
  ['float64', Float64Array.of(0.5, 2), 'float32', [0.5, 2]],
  ['bytes', Uint8Array.of(0, 255), 'int32', [0, 255]],
  ['int32', Int32Array.of(-1, 2), 'int32', [-1, 2]],
])('computes with a batch of %s', (_, batch, dtype, values) => {
  const { x } = new Net().toArrays({ x: batch });
  expect(x.dtype).toBe(dtype);
  expect([...x.dataSync()]).toEqual(values);
});
