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
  /** Printed first: what to expect. */
  readonly note?: string;
}

const usage = ({ command, out, epochs }: Example): string =>
  `${command} [--epochs N] [--out DIR] [--fresh]

  --epochs N   train until N epochs are done (default ${epochs})
  --out DIR    where checkpoints and logs go (default ${out})
  --fresh      forget what is in DIR and start over`;

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
  if (example.note !== undefined) console.log(example.note);
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
