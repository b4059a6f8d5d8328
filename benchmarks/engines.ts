/**
 * The same MLP (784-128-10, Adam, batches of 64) on both engines' wasm backends, in a loop by hand and through
 * the Trainer: `npm run bench -- engines [--json]`. Milliseconds a step are in the last column.
 */
import {
  blockUntilReady,
  init,
  type Array as JaxArray,
  jit,
  nn,
  numpy as np,
  random,
  tree,
  valueAndGrad,
} from '@jax-js/jax';
import { JaxModule, type PyTree, type ScaledOptimizer, type StepOutput } from 'highwater/jax';
import { scaleByAdam } from '../examples/digits/adam.ts';
import { useBackend } from './support/backend.ts';
import { byTrainer } from './support/by-trainer.ts';
import {
  type Batch,
  CLASSES,
  HIDDEN,
  makeBatches,
  PIXELS,
  TfjsMlp,
  tfjsByHand,
} from './support/digits-mlp.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(5);
const STEPS = 100;
const RATE = 0.001;

type Params = { w1: JaxArray; b1: JaxArray; w2: JaxArray; b2: JaxArray };
type Inputs = { x: JaxArray; y: JaxArray };

const normal = (shape: number[], seed: number): JaxArray =>
  random.normal(random.key(seed), shape).mul(0.05);
const makeParams = (): Params => ({
  w1: normal([PIXELS, HIDDEN], 1),
  b1: np.zeros([HIDDEN]),
  w2: normal([HIDDEN, CLASSES], 2),
  b2: np.zeros([CLASSES]),
});

function lossOf({ w1, b1, w2, b2 }: Params, { x, y }: Inputs): JaxArray {
  const hidden = nn.relu(np.dot(x.reshape([-1, PIXELS]), w1).add(b1));
  const logs = nn.logSoftmax(np.dot(hidden, w2).add(b2), -1);
  return np.mean(np.sum(logs.mul(nn.oneHot(y, CLASSES)), -1)).neg();
}

class JaxMlp extends JaxModule<Params, Inputs> {
  params: Params = makeParams();

  override trainingStep(params: Params, inputs: Inputs): StepOutput {
    const loss = lossOf(params, inputs);
    return [loss.ref, { train_loss: loss }];
  }
  override configureOptimizers(): ScaledOptimizer<Params> {
    return { optimizer: scaleByAdam() as ScaledOptimizer<Params>['optimizer'], learningRate: RATE };
  }
}

/** Milliseconds of a step for each batch as jax-js's own guides write them: all of a step in one `jit`. */
async function jaxByHand(batches: readonly Batch[]): Promise<number> {
  const adam = scaleByAdam();
  const differentiate = valueAndGrad(lossOf) as unknown as (
    params: Params,
    inputs: Inputs,
  ) => [JaxArray, Params];
  const step = jit((params: Params, state: JaxArray, inputs: Inputs) => {
    const [loss, gradients] = differentiate(tree.ref(params), inputs);
    const [updates, next] = adam.update(gradients, state, tree.ref(params));
    const move = (param: JaxArray, update: JaxArray): JaxArray => param.sub(update.mul(RATE));
    return [loss, tree.map(move, params, updates as Params), next] as [JaxArray, Params, JaxArray];
  });
  let params = makeParams();
  let state = adam.init(tree.ref(params)) as JaxArray;
  const began = performance.now();
  for (const { x, y } of batches) {
    const inputs = { x: np.array(x as never), y: np.array(y as never) };
    const [loss, ...next] = step(params, state, inputs);
    [params, state] = next;
    await blockUntilReady([loss, params, state] as PyTree);
    loss.dispose();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const ms = performance.now() - began;
  tree.dispose([params, state] as JaxArray[]);
  step.dispose();
  return ms;
}

await useBackend('wasm');
await init('wasm');
const batches = makeBatches(STEPS);
const rounds: Record<'tfjsHand' | 'tfjsTrainer' | 'jaxHand' | 'jaxTrainer', number>[] = [];
for (let i = -1; i < ROUNDS; i++) {
  const found = {
    tfjsHand: await tfjsByHand(batches),
    tfjsTrainer: await byTrainer(new TfjsMlp(), batches),
    jaxHand: await jaxByHand(batches),
    jaxTrainer: await byTrainer(new JaxMlp(), batches),
  };
  if (i >= 0) rounds.push(found);
  note(`round ${i + 1} of ${ROUNDS}`);
}

type Way = keyof (typeof rounds)[number];
const msPerStep = (way: Way): number => median(rounds.map((found) => found[way])) / STEPS;
const compare = (measure: string, ours: Way, peer: Way, names: [string, string]): void =>
  report({
    benchmark: 'engines',
    measure,
    size: 'digits MLP',
    ratios: rounds.map((found) => found[ours] / found[peer]),
    bar: null,
    detail: `${names[0]} ${round(msPerStep(ours))} ms a step, ${names[1]} ${round(msPerStep(peer))} ms a step`,
  });
compare('tfjs', 'tfjsTrainer', 'tfjsHand', ['Trainer', 'a loop by hand']);
compare('jax', 'jaxTrainer', 'jaxHand', ['Trainer', 'a loop by hand']);
compare('jax ÷ tfjs', 'jaxTrainer', 'tfjsTrainer', ['jax', 'tfjs']);
