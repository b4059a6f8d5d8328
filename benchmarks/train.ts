/**
 * What checkpoints, and the Trainer itself, cost a training run: `npm run bench -- train [--json]`. The MLP of
 * the digits example (784-128-10, Adam, batches of 64) on tfjs's wasm backend, on random pixels.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ModelCheckpoint } from 'highwater';
import { useBackend } from './support/backend.ts';
import { byTrainer } from './support/by-trainer.ts';
import { makeBatches, TfjsMlp, tfjsByHand } from './support/digits-mlp.ts';
import { makeFolder } from './support/folder.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(7);
const STEPS = 200;
const SAVE_EVERY = 20;

await useBackend('wasm');
const batches = makeBatches(STEPS);

/** Milliseconds of the steps while checkpoints go to a folder. */
async function saving(folder: string): Promise<number> {
  const options = { dirpath: folder, everyNTrainSteps: SAVE_EVERY, saveLast: true };
  const ms = await byTrainer(new TfjsMlp(), batches, [new ModelCheckpoint(options)]);
  await rm(folder, { recursive: true, force: true });
  return ms;
}

const root = await makeFolder();
const rounds: { hand: number; plain: number; saving: number }[] = [];
for (let i = -1; i < ROUNDS; i++) {
  const found = {
    hand: await tfjsByHand(batches),
    plain: await byTrainer(new TfjsMlp(), batches),
    saving: await saving(join(root, String(i))),
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
