import { expect, it } from 'vitest';
import { ModelSummary, Trainer, type TrainerOptions } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients, type Sgd } from '../support/array-module.ts';

class Model extends ArrayModule<number> {
  readonly #momentum: number;

  constructor(momentum: number) {
    super({ 'body.a.kernel': new Float32Array(200_000), 'body.b': [1, 2], head: [1] });
    this.#momentum = momentum;
  }
  override configureOptimizers(): Sgd {
    return { learningRate: 1, momentum: this.#momentum };
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: { head: [1] } };
  }
  override testStep(): void {}
}

async function printed(options: TrainerOptions = {}, momentum = 0.9): Promise<readonly string[]> {
  const messages: string[] = [];
  const trainer = new Trainer({
    maxEpochs: 1,
    logger: false,
    enableCheckpointing: false,
    enableProgressBar: false,
    console: { info: (message) => void messages.push(message), warn: () => {} },
    ...options,
  });
  const module = new Model(momentum);
  await trainer.fit(module, { trainDataloaders: [1] });
  await trainer.test(module, { dataloaders: [1], verbose: false });
  return messages;
}

it('prints layers, parameters, their sum and the size of a checkpoint, once', async () => {
  expect(await printed()).toEqual([
    [
      'layer  parameters',
      '-----------------',
      'body      200,002',
      'head            1',
      '-----------------',
      'total     200,003',
      'A checkpoint holds 1.6 MB, its weights 800 kB.',
    ].join('\n'),
  ]);
});

it('says that the optimizer may have no state yet', async () => {
  expect((await printed({}, 0))[0]).toContain(
    'A checkpoint holds 800 kB before the first optimizer step, its weights 800 kB.',
  );
});

it.each([
  [1, ['body', 'head']],
  [2, ['body.a', 'body.b', 'head']],
  [-1, ['body.a.kernel', 'body.b', 'head']],
])('tells layers apart as deep as maxDepth says: %i', async (maxDepth, layers) => {
  const [summary = ''] = await printed({ callbacks: new ModelSummary({ maxDepth }) });
  const rows = summary.split('\n').slice(2, -3);
  expect(rows.map((row) => row.split(' ')[0])).toEqual(layers);
});

it('prints nothing in a fastDevRun, or when it is switched off', async () => {
  expect(await printed({ enableModelSummary: false })).toEqual([]);
  expect(await printed({ fastDevRun: true })).toEqual([]);
});
