import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type Callback,
  DataLoader,
  HighwaterError,
  type Logger,
  ModelCheckpoint,
  stopOnSignals,
  Trainer,
  type TrainingModule,
} from 'highwater';
import { loadDigits } from './data.ts';

interface FitOptions {
  /** How many must be done in the end, those of earlier runs among them. */
  readonly epochs: number;
  /** Where checkpoints and logs go. */
  readonly out: string;
  /** Forget the checkpoints that are there. Whatever else is in the folder stays, and the logs get a new version. */
  readonly fresh: boolean;
  /** Train on so many digits. Default: all. */
  readonly rows?: number;
  /** Besides the checkpoint. */
  readonly callbacks?: readonly Callback[];
  readonly loggers?: readonly Logger[];
}

/**
 * Trains a module on the digits, keeps the three best checkpoints and the last one, and goes on from where it was.
 * Ctrl-C saves first. What goes wrong is printed, and makes the process fail.
 *
 * @returns once training has ended, and how.
 */
export async function fitDigits(
  module: TrainingModule,
  { epochs, out, fresh, rows, callbacks = [], loggers }: FitOptions,
): Promise<{
  trainer: Trainer;
  checkpoint: ModelCheckpoint;
  end: 'done' | 'interrupted' | 'failed';
}> {
  const { train, val } = await loadDigits(rows);
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
    logger: loggers,
    callbacks: [checkpoint, ...callbacks],
  });
  if (fresh && trainer.isGlobalZero) {
    await rm(join(out, 'checkpoints'), { recursive: true, force: true });
  }
  try {
    await trainer.fit(module, {
      trainDataloaders: new DataLoader(train, { batchSize: 64, shuffle: true, seed: 7 }),
      valDataloaders: new DataLoader(val, { batchSize: 250 }),
      ckptPath: 'last',
      signal: stopOnSignals(),
    });
    return { trainer, checkpoint, end: 'done' };
  } catch (error) {
    const { name, message, cause } = error as Error;
    const isStopped = name === 'AbortError';
    // With a cause it was asked to stop, and could not save.
    if (isStopped && cause === undefined) {
      trainer.info(`${message} Go on with the same command.`);
      return { trainer, checkpoint, end: 'interrupted' };
    }
    if (error instanceof HighwaterError) console.error(`${error.code}: ${message}`);
    else console.error(isStopped ? message : error);
    process.exitCode = 1;
    return { trainer, checkpoint, end: 'failed' };
  }
}
