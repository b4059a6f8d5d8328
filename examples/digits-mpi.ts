/**
 * The digits of `npm start` on several ranks, which it starts itself:
 * `npm run example -- digits-mpi --ranks 2 [--mpi openmpi|mpich]`. Its last line is JSON.
 */
import { createHash } from 'node:crypto';
import * as tf from '@tensorflow/tfjs-core';
import { Trainer } from 'highwater';
import { readArguments, wholeNumber } from './digits/arguments.ts';
import { fitDigits } from './digits/fit.ts';
import { Mlp, useWasm } from './digits/mlp.ts';
import { LAUNCHERS, launchSelf, type Mpi } from './digits-mpi/launch.ts';

const usage = `npm run example -- digits-mpi [--ranks N] [--mpi openmpi|mpich] [--epochs N] [--out DIR] [--fresh]

  --ranks N    processes that train together (default 2)
  --mpi NAME   openmpi (default) or mpich
  --epochs N   train until N epochs are done (default 3)
  --out DIR    where checkpoints and logs go (default runs/digits-mpi)
  --rows N     so many digits (default: all 10,000)
  --fresh      forget what is in DIR and start over`;

/** A fingerprint of all weights, to the bit. */
async function fingerprint(module: Mlp): Promise<string> {
  const hash = createHash('sha256');
  for (const { group, name, handle } of module.state()) {
    if (group === 'model') hash.update(name).update(await module.read(handle));
  }
  return hash.digest('hex');
}

const options = {
  ranks: { type: 'string', default: '2' },
  mpi: { type: 'string', default: 'openmpi' },
  epochs: { type: 'string', default: '3' },
  out: { type: 'string', default: 'runs/digits-mpi' },
  rows: { type: 'string', default: '10000' },
  fresh: { type: 'boolean', default: false },
} as const;
const settings = readArguments(usage, options, ({ ranks, mpi, epochs, rows, ...rest }) => {
  if (!Object.hasOwn(LAUNCHERS, mpi)) {
    throw new RangeError(`--mpi is '${mpi}', but it must be openmpi or mpich.`);
  }
  return {
    ...rest,
    mpi: mpi as Mpi,
    ranks: wholeNumber('ranks', ranks, 1),
    epochs: wholeNumber('epochs', epochs, 0),
    rows: wholeNumber('rows', rows, 10),
  };
});

/** Whether a launcher, or Slurm in its stead, has started this process: the Trainer sees it. */
const isLaunched = new Trainer({ logger: false }).strategy.name !== 'single';

if (isLaunched) {
  tf.enableProdMode();
  await useWasm();
  const module = new Mlp();
  // The launcher has told each process its rank: the training is that of one process.
  const { trainer, checkpoint, end } = await fitDigits(module, settings);
  if (end !== 'failed') {
    const { strategy, globalStep: steps } = trainer;
    const weights = new Set(await strategy.gather(await fingerprint(module)));
    const kept = [...checkpoint.bestKModels.keys(), checkpoint.lastModelPath].filter(Boolean);
    const { name: mpi, worldSize: ranks } = strategy;
    const said = { mpi, ranks, weightsEqual: weights.size === 1, kept, steps };
    if (trainer.isGlobalZero) console.log(JSON.stringify(said));
  }
} else {
  await launchSelf(settings.mpi, settings.ranks);
}
