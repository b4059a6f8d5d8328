/**
 * The digits of `npm start` on several ranks, which it starts itself:
 * `npm run example -- digits-mpi --ranks 2 [--mpi openmpi|mpich]`. Its last line is JSON.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import * as tf from '@tensorflow/tfjs-core';
import { DataLoader, ModelCheckpoint, stopOnSignals, Trainer } from 'highwater';
import { loadDigits } from './digits/data.ts';
import { Mlp, useWasm } from './digits/mlp.ts';
import { isLaunched, LAUNCHERS, launchSelf, type Mpi } from './digits-mpi/launch.ts';

const usage = `npm run example -- digits-mpi [--ranks N] [--mpi openmpi|mpich] [--epochs N] [--out DIR] [--fresh]

  --ranks N    processes that train together (default 2)
  --mpi NAME   openmpi (default) or mpich
  --epochs N   train until N epochs are done (default 3)
  --out DIR    where checkpoints and logs go (default runs/digits-mpi)
  --rows N     so many digits (default: all 10,000)
  --fresh      forget what is in DIR and start over`;

interface Settings {
  readonly ranks: number;
  readonly mpi: Mpi;
  readonly epochs: number;
  readonly out: string;
  readonly rows: number;
  readonly fresh: boolean;
}

function readArguments(): Settings {
  try {
    const { values } = parseArgs({
      options: {
        ranks: { type: 'string', default: '2' },
        mpi: { type: 'string', default: 'openmpi' },
        epochs: { type: 'string', default: '3' },
        out: { type: 'string', default: 'runs/digits-mpi' },
        rows: { type: 'string', default: '10000' },
        fresh: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const count = (name: 'ranks' | 'epochs' | 'rows', least: number): number => {
      const value = Number(values[name]);
      if (Number.isSafeInteger(value) && value >= least) return value;
      throw new RangeError(`--${name} is '${values[name]}', but it must be at least ${least}.`);
    };
    if (!(values.mpi in LAUNCHERS)) {
      throw new RangeError(`--mpi is '${values.mpi}', but it must be openmpi or mpich.`);
    }
    const { out, fresh } = values;
    const mpi = values.mpi as Mpi;
    return {
      ranks: count('ranks', 1),
      mpi,
      epochs: count('epochs', 0),
      out,
      rows: count('rows', 10),
      fresh,
    };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}

/** A fingerprint of all weights, to the bit. */
async function fingerprint(module: Mlp): Promise<string> {
  const hash = createHash('sha256');
  for (const { group, name, handle } of module.state()) {
    if (group === 'model') hash.update(name).update(await module.read(handle));
  }
  return hash.digest('hex');
}

async function train({ epochs, out, rows }: Settings): Promise<void> {
  tf.enableProdMode();
  await useWasm();
  const { train, val } = await loadDigits(rows);
  const checkpoint = new ModelCheckpoint({
    dirpath: join(out, 'checkpoints'),
    monitor: 'val_acc',
    mode: 'max',
    saveTopK: 3,
    saveLast: true,
    filename: '{epoch}-{val_acc:.3f}',
  });
  // The launcher has told each process its rank: nothing here speaks of them.
  const trainer = new Trainer({ maxEpochs: epochs, defaultRootDir: out, callbacks: checkpoint });
  const module = new Mlp();
  const signal = stopOnSignals();
  try {
    await trainer.fit(module, {
      // A batch of 64 is shared out among the ranks.
      trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true, seed: 7 }),
      valDataloaders: new DataLoader(val, { batchSize: 250 }),
      ckptPath: 'last',
      signal,
    });
  } catch (error) {
    if (!signal.aborted) throw error;
    trainer.info('Interrupted; everything is saved. Go on with the same command.');
  }
  const { strategy, globalStep: steps } = trainer;
  const weights = new Set(await strategy.gather(await fingerprint(module)));
  if (!trainer.isGlobalZero) return;
  const kept = [...checkpoint.bestKModels.keys(), checkpoint.lastModelPath].filter(Boolean);
  const { name: mpi, worldSize: ranks } = strategy;
  console.log(JSON.stringify({ mpi, ranks, weightsEqual: weights.size === 1, kept, steps }));
}

const settings = readArguments();
if (isLaunched) {
  await train(settings);
} else {
  if (settings.fresh) rmSync(join(settings.out, 'checkpoints'), { recursive: true, force: true });
  await launchSelf(settings.mpi, settings.ranks);
}
