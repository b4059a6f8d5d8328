import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JsonObject } from '../../src/format/json.ts';
import {
  CSVLogger,
  DataLoader,
  EarlyStopping,
  HighwaterError,
  ModelCheckpoint,
  reduceLROnPlateau,
  TensorBoardLogger,
  Trainer,
} from '../../src/index.ts';
import {
  readCheckpoint,
  type TensorWithBytes,
  writeCheckpoint,
} from '../format/checkpoint-bytes.ts';
import { ArrayModule, type LossAndGradients, type ScheduledSgd } from '../support/array-module.ts';

/** Has something to say in every field of a checkpoint. */
class Rich extends ArrayModule<number[]> {
  loaded: unknown;

  constructor() {
    super({ a: [1, -1], b: [0.25] });
    this.saveHyperparameters({ width: 2, nested: { names: ['a', 'b'] } });
  }
  override configureOptimizers(): ScheduledSgd {
    return {
      optimizer: { learningRate: 0.05, momentum: 0.9 },
      lrScheduler: {
        scheduler: reduceLROnPlateau({ patience: 1 }),
        monitor: 'loss',
        interval: 'step',
        strict: false,
      },
    };
  }
  override trainingStep([item = 0]: number[]): LossAndGradients {
    const loss = item * this.rng.uniform();
    this.log('loss', loss, { onStep: true, onEpoch: true });
    return { loss, gradients: { a: [loss, 1], b: [item] } };
  }
  override validationStep([item = 0]: number[]): void {
    this.log('val_loss', item + (this.weight('a')[0] ?? 0));
  }
  override onSaveCheckpoint(checkpoint: Record<string, unknown>): void {
    checkpoint.mine = { ema: Float32Array.of(1, 2), note: 'x' };
  }
  override onLoadCheckpoint(checkpoint: Record<string, unknown>): void {
    this.loaded = checkpoint.mine;
  }
}

/** A checkpoint of the run, taken apart. */
export interface Parts {
  readonly document: JsonObject;
  readonly tensors: readonly TensorWithBytes[];
}

/** Files of the machine that no checkpoint may touch. */
const SECRET = 'precious';

/**
 * A run that has saved two checkpoints, in mid-epoch and mid-accumulation, with neighbours outside its folder.
 * Each {@link resume} begins with the same files.
 */
export class RichRun {
  readonly root: string;
  readonly folder: string;
  /** The checkpoint that is resumed from. */
  readonly file: string;
  readonly parts: Parts;
  readonly #original: string;

  private constructor(root: string) {
    this.root = root;
    this.folder = join(root, 'run');
    this.#original = join(root, 'original');
    const checkpoints = join(this.folder, 'checkpoints');
    this.file = join(
      checkpoints,
      readdirSync(checkpoints).find((name) => name.includes('step=2')) ?? '',
    );
    cpSync(this.folder, this.#original, { recursive: true, verbatimSymlinks: true });
    const { document, tensors } = readCheckpoint(readFileSync(this.file));
    this.parts = { document: document ?? {}, tensors };
  }

  static async begin(): Promise<RichRun> {
    const memory = '/dev/shm';
    const root = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'highwater-hostile-'));
    mkdirSync(join(root, 'outside'));
    for (const name of ['outside/secret.ckpt', 'secret.ckpt'])
      writeFileSync(join(root, name), SECRET);
    const controller = new AbortController();
    const run = fitRich(
      join(root, 'run'),
      undefined,
      (batches) => {
        if (batches === 4) controller.abort();
      },
      controller.signal,
    );
    await run.catch((error: unknown) => {
      if (!controller.signal.aborted) throw error;
    });
    return new RichRun(root);
  }

  /** Puts all files back, and this one in the place of the checkpoint. */
  reset(file: Uint8Array | Parts): void {
    rmSync(this.folder, { recursive: true, force: true });
    cpSync(this.#original, this.folder, { recursive: true, verbatimSymlinks: true });
    const bytes = 'document' in file ? writeCheckpoint(file.document, file.tensors) : file;
    rmSync(this.file);
    writeFileSync(this.file, bytes);
  }

  /** Trains on from the checkpoint to the end. */
  async resume(ckptPath: string = this.file): Promise<void> {
    await fitRich(this.folder, ckptPath);
  }

  /**
   * What is wrong with the way a document is resumed from; undefined when it is refused by the name of its file, or
   * trained on from, and nothing else has happened.
   */
  async complaint(document: JsonObject): Promise<string | undefined> {
    this.reset({ ...this.parts, document });
    try {
      await this.resume();
    } catch (error) {
      if (!(error instanceof HighwaterError)) {
        return `not refused, but failed: ${error instanceof Error ? error.stack : error}`;
      }
      const isUserCode = error.code === 'HOOK_FAILED' || error.code === 'SAVE_FAILED';
      if (isUserCode || !error.message.includes(this.file)) {
        return `refused otherwise: ${error.code} ${error.message}`;
      }
    }
    return this.damage();
  }

  /** What has happened outside the run's folder, and to all objects; undefined: nothing. */
  damage(): string | undefined {
    const names = readdirSync(this.root, { recursive: true }).map(String);
    const outside = names.filter((name) => !/^(run|original)(\/|$)/.test(name)).sort();
    if (outside.join() !== 'outside,outside/secret.ckpt,secret.ckpt') return `there are ${outside}`;
    for (const name of ['outside/secret.ckpt', 'secret.ckpt']) {
      if (readFileSync(join(this.root, name), 'utf8') !== SECRET) return `${name} has changed`;
    }
    const added = Object.keys(Object.prototype).concat(Object.keys(Array.prototype));
    const isPolluted = ({} as { polluted?: unknown }).polluted !== undefined;
    return added.length > 0 || isPolluted ? `prototypes have ${added}` : undefined;
  }

  end(): void {
    rmSync(this.root, { recursive: true });
  }
}

async function fitRich(
  folder: string,
  ckptPath: string | undefined,
  onBatch: (batches: number) => void = () => {},
  signal?: AbortSignal,
): Promise<void> {
  let batches = 0;
  const dirpath = join(folder, 'checkpoints');
  const trainer = new Trainer({
    maxEpochs: 2,
    accumulateGradBatches: 2,
    valCheckInterval: { batches: 2 },
    logEveryNSteps: 1,
    maxTime: { hours: 1 },
    seed: 3,
    enableProgressBar: false,
    enableModelSummary: false,
    defaultRootDir: folder,
    callbacks: [
      new EarlyStopping({ monitor: 'val_loss', patience: 5 }),
      new ModelCheckpoint({
        dirpath,
        monitor: 'loss',
        saveTopK: 2,
        saveLast: true,
        everyNTrainSteps: 1,
      }),
      new ModelCheckpoint({ dirpath, monitor: 'val_loss', filename: 'best-{step}' }),
      new ModelCheckpoint({ dirpath, everyNTrainSteps: 1, filename: 'newest-{step}' }),
    ],
    logger: [
      new CSVLogger({
        saveDir: join(folder, 'logs'),
        name: 'csv',
        version: 0,
        onWarning: () => {},
      }),
      new TensorBoardLogger({
        saveDir: join(folder, 'logs'),
        name: 'events',
        version: 0,
        onWarning: () => {},
      }),
    ],
    console: { info: () => {}, warn: () => {} },
    onHookCompleted: (hook) => {
      if (hook === 'trainBatchEnd') onBatch(++batches);
    },
  });
  await trainer.fit(new Rich(), {
    trainDataloaders: new DataLoader([0.5, 1, 1.5, 2, 2.5], { shuffle: true, seed: 5 }),
    valDataloaders: new DataLoader([1, 2], { shuffle: true, seed: 6 }),
    ...(ckptPath === undefined ? {} : { ckptPath }),
    ...(signal === undefined ? {} : { signal }),
  });
}
