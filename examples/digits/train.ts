import { readFile, rm, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import {
  CSVLogger,
  DataLoader,
  EarlyStopping,
  HighwaterError,
  LearningRateMonitor,
  ModelCheckpoint,
  stopOnSignals,
  TensorBoardLogger,
  Trainer,
  type TrainingModule,
} from 'highwater';
import { loadDigits } from './data.ts';

/** What an example says of itself. */
interface Example {
  /** The command that starts it, before its own arguments. */
  readonly command: string;
  /** Default of `--out`. */
  readonly out: string;
  readonly epochs: number;
  /** Printed first: what to expect. */
  readonly note?: string;
}

interface Settings {
  readonly epochs: number;
  readonly out: string;
  readonly fresh: boolean;
}

function readArguments(example: Example): Settings {
  const usage = `${example.command} [--epochs N] [--out DIR] [--fresh]

  --epochs N   train until N epochs are done (default ${example.epochs})
  --out DIR    where checkpoints and logs go (default ${example.out})
  --fresh      forget what is in DIR and start over`;
  try {
    const { values } = parseArgs({
      options: {
        fresh: { type: 'boolean', default: false },
        epochs: { type: 'string', default: String(example.epochs) },
        out: { type: 'string', default: example.out },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      console.log(usage);
      process.exit(0);
    }
    const epochs = Number(values.epochs);
    if (!Number.isSafeInteger(epochs) || epochs < 0) {
      throw new RangeError(`--epochs is '${values.epochs}', but it must be a whole number.`);
    }
    return { epochs, out: values.out, fresh: values.fresh };
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}

/** What is kept, and what was removed over the whole run, from the journal beside the checkpoints. */
async function printSummary(checkpoint: ModelCheckpoint): Promise<void> {
  const { bestKModels, bestModelPath, lastModelPath } = checkpoint;
  const rows = [...bestKModels].map(([path, score]) => {
    const mark = path === bestModelPath ? ' *' : '';
    return { path, score: `${score.toFixed(4)}${mark}` };
  });
  if (lastModelPath) rows.push({ path: lastModelPath, score: 'last' });
  const width = Math.max(...rows.map(({ path }) => relative('.', path).length));
  console.log(`${'kept'.padEnd(width)}  val_acc   size`);
  for (const { path, score } of rows) {
    const kilobytes = Math.round((await stat(path)).size / 1000);
    console.log(`${relative('.', path).padEnd(width)}  ${score.padEnd(8)}  ${kilobytes} kB`);
  }
  const journal = await readFile(join(checkpoint.dirpath, '.highwater/history.jsonl'), 'utf8');
  const removed = journal
    .split('\n')
    .filter((line) => line.includes('"kind":"removed"'))
    .map((line) => JSON.parse(line) as { path: string; reason: string });
  for (const { path, reason } of removed) console.log(`removed ${relative('.', path)}: ${reason}`);
}

/**
 * Trains a module on the digits as the command line says, keeps the three best checkpoints and the last one,
 * and goes on from where it was, also in its logs: `tensorboard --logdir DIR/logs`. It stops early when the
 * accuracy has not risen for three epochs. Ctrl-C saves first.
 */
export async function trainDigits(example: Example, make: () => TrainingModule): Promise<void> {
  const { epochs, out, fresh } = readArguments(example);
  // Only the checkpoints: whatever else is in the folder stays, and the logs get a new version.
  if (fresh) await rm(join(out, 'checkpoints'), { recursive: true, force: true });

  if (example.note !== undefined) console.log(example.note);
  const { train, val } = await loadDigits();
  const checkpoint = new ModelCheckpoint({
    dirpath: join(out, 'checkpoints'),
    monitor: 'val_acc',
    mode: 'max',
    saveTopK: 3,
    saveLast: true,
    filename: '{epoch}-{val_acc:.3f}',
  });
  const trainer = new Trainer({
    maxEpochs: epochs,
    defaultRootDir: out,
    logger: [
      new CSVLogger({ saveDir: out, name: 'logs' }),
      new TensorBoardLogger({ saveDir: out, name: 'logs' }),
    ],
    callbacks: [
      checkpoint,
      new EarlyStopping({ monitor: 'val_acc', mode: 'max', patience: 3, verbose: true }),
      new LearningRateMonitor(),
    ],
  });

  const signal = stopOnSignals();
  try {
    await trainer.fit(make(), {
      trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true, seed: 7 }),
      valDataloaders: new DataLoader(val, { batchSize: 250 }),
      ckptPath: 'last',
      signal,
    });
    await printSummary(checkpoint);
  } catch (error) {
    if (signal.aborted) {
      console.log('Interrupted; everything is saved. Go on with the same command.');
    } else {
      console.error(error instanceof HighwaterError ? `${error.code}: ${error.message}` : error);
      process.exitCode = 1;
    }
  }
}
