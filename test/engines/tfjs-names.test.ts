import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { describe, expect, it } from 'vitest';
import type { StateGroup } from '../../src/engines/engine.ts';
import { TfjsModule } from '../../src/engines/tfjs/index.ts';
import { MisconfigurationError } from '../../src/errors.ts';

const one = (): tf.Variable => tf.variable(tf.ones([1]));
const dense = (units: number, name?: string) =>
  tfl.layers.dense({ units, inputShape: [2], ...(name === undefined ? {} : { name }) });

/** Any properties; the loss is the sum of what `output` makes of a batch. */
class Holder<Parts extends object> extends TfjsModule<tf.Tensor> {
  readonly #output: (parts: Parts, x: tf.Tensor) => tf.Tensor;

  constructor(parts: Parts, output: (parts: Parts, x: tf.Tensor) => tf.Tensor = (_, x) => x) {
    super();
    Object.assign(this, parts);
    this.#output = output;
    this.setupOptimizers();
  }

  trainingStep(x: tf.Tensor): tf.Tensor {
    return tf.sum(tf.square(this.#output(this as unknown as Parts, x)));
  }

  configureOptimizers(): tf.Optimizer {
    return tf.train.sgd(0.01);
  }
}

function names(module: TfjsModule<tf.Tensor>, group: StateGroup = 'model'): string[] {
  return [...module.state()].filter((entry) => entry.group === group).map(({ name }) => name);
}

const namesIn = (parts: object): string[] => names(new Holder(parts));

/** The names of the weights that one step gives gradients to. */
function trained(module: TfjsModule<tf.Tensor>, x: tf.Tensor = tf.ones([4, 2])): string[] {
  module.release(module.trainStep(x, 0, 1));
  return names(module, 'gradient');
}

async function valuesOf(module: TfjsModule<tf.Tensor>, name: string): Promise<number[]> {
  const entry = [...module.state()].find((each) => each.group === 'model' && each.name === name);
  const owned = module.retain(entry?.handle);
  return [...new Float32Array(Uint8Array.from(await module.read(owned)).buffer)];
}

describe('variables are named by the way to them', () => {
  it('through properties, arrays, objects and maps', () => {
    const parts = {
      w: one(),
      list: [one(), [one()]],
      nested: { a: { b: one() }, c: one() },
      map: new Map([['key', one()]]),
      bare: Object.assign(Object.create(null), { w: one() }),
    };
    expect(namesIn(parts)).toEqual([
      'w',
      'list.0',
      'list.1.0',
      'nested.a.b',
      'nested.c',
      'map.key',
      'bare.w',
    ]);
  });

  it('also when null, holes and cycles lie on it', () => {
    const cycle: Record<string, unknown> = { nothing: null, sparse: [undefined, null, one()] };
    cycle.self = cycle;
    cycle.w = one();
    expect(namesIn({ cycle })).toEqual(['cycle.sparse.2', 'cycle.w']);
  });

  it('and nothing else is state: constants, optimizers, numbers, getters', () => {
    const parts = {
      constant: tf.ones([2]),
      optimizer: tf.train.adam(0.1),
      numbers: [1, 2, 3],
      typed: new Float32Array(3),
      get made(): tf.Variable {
        throw new Error('called');
      },
      w: one(),
    };
    const module = new Holder({ w: parts.w });
    Object.defineProperties(module, Object.getOwnPropertyDescriptors(parts));
    expect(names(module)).toEqual(['w']);
  });

  it('whatever tfjs calls them, in the order of the properties', () => {
    const module = new Holder({ b: tf.variable(tf.ones([1]), true, `taken-${Math.PI}`), a: one() });
    expect(names(module)).toEqual(['b', 'a']);
  });

  it('and a variable of two names has the first', () => {
    const shared = one();
    expect(namesIn({ first: shared, second: { shared }, third: [shared] })).toEqual(['first']);
  });

  it('int32 and non-trainable ones are saved, not trained', () => {
    const parts = {
      w: one(),
      frozen: tf.variable(tf.ones([1]), false),
      count: tf.variable(tf.zeros([1], 'int32')),
    };
    const module = new Holder(parts, ({ w, frozen }) => tf.mul(w, frozen));
    expect(names(module)).toEqual(['w', 'frozen', 'count']);
    expect(trained(module)).toEqual(['w']);
  });

  it('refuses dtypes that no file can hold, and two of one name', () => {
    const text = tf.variable(tf.tensor(['a']) as tf.Tensor);
    expect(() => namesIn({ text })).toThrow(/'text' is of dtype string/);
    const twice = { 'a.b': one(), a: { b: one() } };
    expect(() => namesIn(twice)).toThrow(MisconfigurationError);
    expect(() => namesIn(twice)).toThrow(/Two weights are named 'a\.b'/);
  });
});

describe('weights of layers are named by the path of layers', () => {
  it('by the names that the user gave', () => {
    const model = tfl.sequential({ layers: [dense(2, 'fc1'), dense(1, 'head')], name: 'mine' });
    expect(namesIn({ model })).toEqual([
      'model.fc1.kernel',
      'model.fc1.bias',
      'model.head.kernel',
      'model.head.bias',
    ]);
  });

  it('by class and position without, the same for every model of the process', () => {
    const make = () =>
      tfl.sequential({ layers: [dense(2), dense(2, 'dense_2'), dense(2), tfl.layers.prelu()] });
    const expected = [
      ['dense_1', 'kernel', 'bias'],
      ['dense_2', 'kernel', 'bias'],
      ['dense_3', 'kernel', 'bias'],
      ['p_re_lu_1', 'alpha'],
    ].flatMap(([layer, ...weights]) => weights.map((weight) => `model.${layer}.${weight}`));
    for (let i = 0; i < 3; i++) expect(namesIn({ model: make() })).toEqual(expected);
  });

  it('a layer alone, and layers in an array', () => {
    const layers = [dense(3), dense(1)];
    for (const layer of layers) layer.build([null, 2]);
    expect(namesIn({ fc: layers[0], rest: layers })).toEqual([
      'fc.kernel',
      'fc.bias',
      'rest.1.kernel',
      'rest.1.bias',
    ]);
  });

  it('models in models, and wrapped and recurrent layers', () => {
    const recurrentInitializer = 'zeros';
    const lstm = tfl.layers.lstm({ units: 2, returnSequences: true, recurrentInitializer });
    const bidirectional = tfl.layers.bidirectional({ layer: lstm, mergeMode: 'sum' });
    const each = tfl.layers.timeDistributed({ layer: tfl.layers.dense({ units: 1 }) });
    const inner = tfl.sequential({ layers: [tfl.layers.inputLayer({ inputShape: [4, 2] }), each] });
    const input = tfl.input({ shape: [4, 1] });
    const outputs = inner.apply(bidirectional.apply(input)) as tfl.SymbolicTensor;
    const model = tfl.model({ inputs: input, outputs });
    expect(namesIn({ model })).toEqual([
      ...['forwardLayer', 'backwardLayer'].flatMap((way) =>
        ['kernel', 'recurrent_kernel', 'bias'].map(
          (weight) => `model.bidirectional_1.${way}.cell.${weight}`,
        ),
      ),
      'model.sequential_1.time_distributed_1.layer.kernel',
      'model.sequential_1.time_distributed_1.layer.bias',
    ]);
  });

  it('a layer used twice, and one shared by two models, once', () => {
    const shared = dense(2, 'shared');
    const input = tfl.input({ shape: [2] });
    const twice = shared.apply(shared.apply(input)) as tfl.SymbolicTensor;
    const own = dense(1, 'own').apply(shared.apply(input)) as tfl.SymbolicTensor;
    const parts = {
      a: tfl.model({ inputs: input, outputs: twice }),
      b: tfl.model({ inputs: input, outputs: own }),
    };
    const module = new Holder(parts, ({ a, b }, x) => b.apply(a.apply(x)) as tf.Tensor);
    expect(names(module)).toEqual([
      'a.shared.kernel',
      'a.shared.bias',
      'b.own.kernel',
      'b.own.bias',
    ]);
    expect(trained(module)).toEqual(names(module));
  });
});

describe('what of a model is trained', () => {
  const make = () => {
    const norm = tfl.layers.batchNormalization({ name: 'norm' });
    const model = tfl.sequential({ layers: [dense(2, 'fc'), norm] });
    const apply = (parts: { model: tfl.Sequential }, x: tf.Tensor) =>
      tf.sub(parts.model.apply(x, { training: true }) as tf.Tensor, 1);
    return { model, module: new Holder({ model }, apply) };
  };
  const x = tf.tensor2d([1, 2, 3, 5, 8, 13, 21, 34], [4, 2]);

  it('moving statistics are saved and restored, and follow the batches, but are not trained', async () => {
    const { module } = make();
    const start = await valuesOf(module, 'model.norm.moving_mean');
    expect(trained(module, x)).toEqual([
      'model.fc.kernel',
      'model.fc.bias',
      'model.norm.gamma',
      'model.norm.beta',
    ]);
    module.optimizerStep(undefined);
    const moved = await valuesOf(module, 'model.norm.moving_mean');
    expect(moved).not.toEqual(start);
    const tensors = await Promise.all(
      [...module.state()].map(async ({ handle, ...entry }) => {
        const bytes = Uint8Array.from(await module.read(module.retain(handle)));
        return { ...entry, bytes };
      }),
    );
    const other = make().module;
    other.load(tensors, module.meta(), { strict: true, weightsOnly: false });
    expect(await valuesOf(other, 'model.norm.moving_mean')).toEqual(moved);
  });

  it('frozen layers and models are saved and stay as they are, until they are thawed', async () => {
    const { model, module } = make();
    const all = names(module);
    const fc = model.getLayer('fc');
    fc.trainable = false;
    const before = await valuesOf(module, 'model.fc.kernel');
    expect(trained(module, x)).toEqual(['model.norm.gamma', 'model.norm.beta']);
    module.optimizerStep(undefined);
    expect(await valuesOf(module, 'model.fc.kernel')).toEqual(before);
    expect(names(module)).toEqual(all);
    fc.trainable = true;
    expect(trained(module, x)).toHaveLength(4);
  });

  it('a model frozen as a whole inside a trained one', () => {
    const { model } = make();
    model.trainable = false;
    const apply = (parts: { model: tfl.Sequential; w: tf.Variable }, input: tf.Tensor) =>
      tf.mul(parts.model.apply(input) as tf.Tensor, parts.w);
    const module = new Holder({ model, w: one() }, apply);
    expect(names(module)).toHaveLength(7);
    expect(trained(module, x)).toEqual(['w']);
  });
});
