/**
 * What a save costs beside its bytes when very many files are kept: `npm run bench -- scale [--json]`. The
 * same callback, through the real Trainer on storage in memory, with 10 kept files, with as many as a checkpoint
 * lists (more are not listed, so that this is the dearest), and with 100,000.
 */
import { ModelCheckpoint, memoryFiles, Trainer } from 'highwater';
import { MAX_LISTED } from '../src/checkpoint/state.ts';
import { ArrayModule, type LossAndGradients } from '../test/support/array-module.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(7);
const SAVES_PER_ROUND = 200;
const [FEW, MANY] = [10, 100_000];
const COUNT = new Intl.NumberFormat('en-US');

class OneWeight extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    // Always better, so that each step saves one file and removes one.
    this.log('loss', -batch);
    return { loss: 0, gradients: { weight: [1] } };
  }
}

/** A run that saves at every step and never ends; `save(n)` lets it take n of them. */
function saving(saveTopK: number): { save(count: number): Promise<number>; end(): Promise<void> } {
  let allowed = 0;
  let wake = (): void => {};
  let idle = (): void => {};
  let isOver = false;
  let taken = 0;
  async function* batches(): AsyncGenerator<number> {
    while (!isOver) {
      while (allowed === 0 && !isOver) {
        idle();
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      allowed--;
      yield taken++;
    }
  }
  const checkpoint = new ModelCheckpoint({
    dirpath: '/kept',
    filename: '{step}',
    monitor: 'loss',
    saveTopK,
    everyNTrainSteps: 1,
  });
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    maxEpochs: 1,
    // Without the journal: to append to a file in memory is to copy it.
    storage: { ...memoryFiles(), append: async () => {} },
    callbacks: checkpoint,
  });
  const fit = trainer.fit(new OneWeight(), {
    trainDataloaders: { [Symbol.asyncIterator]: batches },
  });
  return {
    async save(count) {
      const began = performance.now();
      allowed = count;
      const done = new Promise<void>((resolve) => {
        idle = resolve;
      });
      wake();
      await done;
      await trainer.flush();
      return (performance.now() - began) / count;
    },
    async end() {
      isOver = true;
      wake();
      await fit;
    },
  };
}

const few = saving(FEW);
const listed = saving(MAX_LISTED);
const many = saving(MANY);
for (let kept = 0; kept < MANY; kept += 10_000) {
  await many.save(10_000);
  note(`${kept + 10_000} of ${MANY} kept`);
}
await few.save(1000);
await listed.save(1000);
const rounds: { few: number; listed: number; many: number }[] = [];
for (let i = -1; i < ROUNDS; i++) {
  const found = {
    few: await few.save(SAVES_PER_ROUND),
    listed: await listed.save(SAVES_PER_ROUND),
    many: await many.save(SAVES_PER_ROUND),
  };
  if (i >= 0) rounds.push(found);
}
for (const [which, kept] of [
  ['listed', MAX_LISTED],
  ['many', MANY],
] as const) {
  report({
    benchmark: 'scale',
    measure: 'bookkeeping',
    size: `${COUNT.format(kept)} ÷ ${FEW}`,
    ratios: rounds.map((found) => found[which] / found.few),
    bar: { atMost: 2 },
    detail:
      `${round(median(rounds.map((found) => found[which])))} ms a step and save with ` +
      `${COUNT.format(kept)} kept, ${round(median(rounds.map((found) => found.few)))} ms with ${FEW}`,
  });
}
process.exit(0);
