import { readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import {
  CSVLogger,
  EarlyStopping,
  LearningRateMonitor,
  type ModelCheckpoint,
  TensorBoardLogger,
  type TrainingModule,
} from 'highwater';
import { readArguments, wholeNumber } from './arguments.ts';
import { fitDigits } from './fit.ts';

/** What an example says of itself. */
interface Example {
  /** The command that starts it, before its own arguments. */
  readonly command: string;
  /** Default of `--out`. */
  readonly out: string;
  readonly epochs: number;
}

const usage = ({ command, out, epochs }: Example): string =>
  `${command} [--epochs N] [--out DIR] [--fresh]

  --epochs N   train until N epochs are done (default ${epochs})
  --out DIR    where checkpoints and logs go (default ${out})
  --fresh      forget what is in DIR and start over`;

/** What is kept, and what was removed over the whole run, from the journal beside the checkpoints. */
async function printSummary(checkpoint: ModelCheckpoint): Promise<void> {
  const rows = [...checkpoint.bestKModels].map(([path, score]) => ({
    path,
    score: score.toFixed(4),
  }));
  if (checkpoint.lastModelPath) rows.push({ path: checkpoint.lastModelPath, score: 'last' });
  const kept = rows.map(async ({ path, score }) => ({
    kept: relative('.', path),
    val_acc: path === checkpoint.bestModelPath ? `${score} *` : score,
    kB: Math.round((await stat(path)).size / 1000),
  }));
  console.table(await Promise.all(kept));
  const journal = await readFile(join(checkpoint.dirpath, '.highwater/history.jsonl'), 'utf8');
  const removed = journal
    .split('\n')
    .filter((line) => line.includes('"kind":"removed"'))
    .map((line) => JSON.parse(line) as { path: string; reason: string });
  for (const { path, reason } of removed) console.log(`removed ${relative('.', path)}: ${reason}`);
}

/**
 * Trains a module on the digits as the command line says, with logs for `tensorboard --logdir DIR/logs`, and prints
 * what is kept. It stops early when the accuracy has not risen for three epochs.
 */
export async function trainDigits(example: Example, make: () => TrainingModule): Promise<void> {
  const options = {
    epochs: { type: 'string', default: String(example.epochs) },
    out: { type: 'string', default: example.out },
    fresh: { type: 'boolean', default: false },
  } as const;
  const settings = readArguments(usage(example), options, ({ epochs, ...rest }) => ({
    ...rest,
    epochs: wholeNumber('epochs', epochs, 0),
  }));
  const logs = { saveDir: settings.out, name: 'logs' };
  const { checkpoint, end } = await fitDigits(make(), {
    ...settings,
    loggers: [new CSVLogger(logs), new TensorBoardLogger(logs)],
    callbacks: [
      new EarlyStopping({ monitor: 'val_acc', mode: 'max', patience: 3, verbose: true }),
      new LearningRateMonitor(),
    ],
  });
  if (end === 'done') await printSummary(checkpoint);
}
