import { cpSync, existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import type { JsonValue } from '../../src/format/json.ts';
import {
  type Callback,
  CSVLogger,
  DataLoader,
  type DataSource,
  EarlyStopping,
  ModelCheckpoint,
  TensorBoardLogger,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { SHARED_HOOKS } from '../support/recorded-hooks.ts';
import type { Configuration } from './configuration.ts';
import { type Batch, makeModule, monitorOf } from './modules.ts';

/** Where a run could be stopped: a checkpoint, and all files as they were when it was durable. */
export interface SavePoint {
  /** What it was saved in, for a person. */
  readonly hook: string;
  /** Saved by a user's hook, in the middle of what the loop does. */
  readonly isInside: boolean;
  /** Below the run's folder. */
  readonly file: string;
  /** How many events came before. */
  readonly events: number;
  readonly clockMs: number;
  /** Where the copy of the run's folder is. */
  readonly copy: string;
}

/** All that can be seen of a run. */
export interface RecordedRun {
  /** Each hook, with all that a hook can see. */
  readonly events: readonly string[];
  readonly end: string;
  /** Every file of the run, by its path below the run's folder. */
  readonly files: ReadonlyMap<string, string>;
  readonly points: readonly SavePoint[];
  readonly warnings: readonly string[];
}

/** How much of the clock's time a batch takes. The clock stands still otherwise. */
const BATCH_MS = 1000;

const IN_BATCH: readonly string[] = [
  'onTrainBatchStart',
  'onAfterBackward',
  'onBeforeOptimizerStep',
  'onTrainBatchEnd',
];

/** Hooks in which users may save, too: all that are in the middle of something. */
const INSIDE: readonly string[] = [
  ...IN_BATCH,
  'onTrainEpochStart',
  'onValidationStart',
  'onValidationBatchEnd',
  'onValidationEpochEnd',
  'onValidationEnd',
  'onTrainEpochEnd',
  'onTrainEnd',
];

/** Where a run works, and what it goes on from. */
export interface Place {
  /** All that the run writes. The same for all runs that are compared: paths are part of checkpoints. */
  readonly folder: string;
  /** Where to copy the folder to at each point; undefined: make no copies. */
  readonly copies: string | undefined;
  readonly from: SavePoint | undefined;
}

/** Trains to the end, from the start or from a point, and notes everything. */
export async function recordedRun(
  configuration: Configuration,
  { folder, copies, from }: Place,
): Promise<RecordedRun> {
  const clock = { ms: from?.clockMs ?? 0 };
  const restoreClock = replaceClock(clock);
  try {
    return await record(configuration, { folder, copies, from }, clock);
  } finally {
    restoreClock();
  }
}

async function record(
  configuration: Configuration,
  { folder, copies, from }: Place,
  clock: { ms: number },
): Promise<RecordedRun> {
  const events: string[] = [];
  const points: SavePoint[] = [];
  const warnings: string[] = [];
  const { module, weights } = makeModule(configuration);
  const checkpoints = checkpointsOf(configuration, folder);
  const patience =
    configuration.patience === undefined
      ? undefined
      : new EarlyStopping({
          monitor: monitorOf(configuration.valLoaders),
          patience: configuration.patience,
          strict: false,
        });
  let isTraining = false;
  let batchBeganMs = clock.ms;

  const note = async (hook: string, args: readonly unknown[]): Promise<void> => {
    const readings = await trainer.checkpointing.readings();
    const seen = [
      ...[...readings].map(([name, { value, loggedFor }]) => `${name}=${value}@${loggedFor}`),
      JSON.stringify([trainer.progressBarMetrics, trainer.loggedMetrics]),
      `lr ${module.learningRate}`,
      `w ${weights().join(' ')}`,
      ...checkpoints.map((checkpoint) => JSON.stringify(checkpoint.stateDict())),
      JSON.stringify(patience?.stateDict() ?? null),
    ];
    const position = `epoch ${trainer.currentEpoch} step ${trainer.globalStep} batch ${trainer.batchesInEpoch}`;
    const given = args.filter((arg) => typeof arg === 'number' || Array.isArray(arg));
    events.push(`${hook}${JSON.stringify(given)} ${position}\n  ${seen.join('\n  ')}`);
  };
  const savePoints = new SavePoints(async (hook, isInside, index) => {
    const file = `points/${String(index).padStart(3, '0')}-${hook}.ckpt`;
    await trainer.saveCheckpoint(join(folder, file));
    const copy = copies === undefined ? '' : join(copies, String(index));
    // What is run again takes its time again.
    const clockMs = IN_BATCH.includes(hook) ? batchBeganMs : clock.ms;
    points.push({ hook, isInside, file, events: events.length, clockMs, copy });
  });
  const copyNow = async (): Promise<void> => {
    await trainer.checkpointing.flush();
    const { file, copy } = points.at(-1) as SavePoint;
    if (copy === '') return;
    for (const part of ['checkpoints', 'logs']) {
      const source = join(folder, part);
      if (!existsSync(source)) continue;
      cpSync(source, join(copy, part), { recursive: true, verbatimSymlinks: true });
    }
    cpSync(join(folder, file), join(copy, file));
  };
  const recorder: Callback = Object.fromEntries(
    SHARED_HOOKS.map((hook) => [
      hook,
      async (_trainer: Trainer, _module: unknown, ...args: readonly unknown[]) => {
        if (trainer.sanityChecking || !isTraining) return;
        if (hook === 'onTrainBatchStart') batchBeganMs = clock.ms;
        if (hook === 'onTrainBatchStart' || hook === 'onTrainBatchEnd') {
          clock.ms = (trainer.currentEpoch * 100 + Number(args.at(-1)) + 1) * BATCH_MS;
        }
        await note(hook, args);
        if (!INSIDE.includes(hook)) return;
        await savePoints.save(hook, true);
        await copyNow();
      },
    ]),
  );
  const trainer: Trainer = new Trainer({
    maxEpochs: configuration.maxEpochs,
    ...(configuration.maxSteps === undefined ? {} : { maxSteps: configuration.maxSteps }),
    ...validationOf(configuration),
    limitTrainBatches: limit(configuration.limitTrainBatches),
    limitValBatches: limit(configuration.limitValBatches),
    accumulateGradBatches: configuration.accumulateGradBatches,
    gradientClipVal: configuration.gradientClipVal ?? null,
    logEveryNSteps: configuration.logEveryNSteps,
    asyncSave: configuration.asyncSave,
    seed: 3,
    enableProgressBar: false,
    enableModelSummary: false,
    defaultRootDir: folder,
    callbacks: [
      recorder,
      ...(patience === undefined ? [] : [patience]),
      ...checkpoints,
      savePoints,
    ],
    logger: [
      new CSVLogger({ saveDir: join(folder, 'logs'), name: 'csv', version: 0 }),
      new TensorBoardLogger({ saveDir: join(folder, 'logs'), name: 'events', version: 0 }),
    ],
    console: { info: () => {}, warn: (text) => void warnings.push(text) },
    onHookCompleted: async (hook) => {
      if (hook === 'sanityValidationEnd') return;
      isTraining = hook !== 'trainEnd';
      if (hook === 'trainStart') return;
      await note(`after ${hook}`, []);
      await savePoints.save(`after ${hook}`, false);
      await copyNow();
    },
  });
  await trainer.fit(module, {
    trainDataloaders: trainData(configuration),
    valDataloaders: valData(configuration),
    ...(from === undefined ? {} : { ckptPath: join(folder, from.file) }),
  });
  const end = JSON.stringify([
    weights(),
    trainer.currentEpoch,
    trainer.globalStep,
    trainer.callbackMetrics,
    trainer.progressBarMetrics,
    trainer.loggedMetrics,
    patience?.stateDict() ?? null,
    checkpoints.map((checkpoint) => checkpoint.stateDict()),
  ]);
  return { events, end, files: filesIn(folder), points, warnings };
}

/** Saves a file of its own wherever it is told to, numbered over all resumes. */
class SavePoints implements Callback {
  readonly stateKey = 'SavePoints';
  #next = 0;
  readonly #save: (hook: string, isInside: boolean, index: number) => Promise<void>;

  constructor(save: (hook: string, isInside: boolean, index: number) => Promise<void>) {
    this.#save = save;
  }
  stateDict(): JsonValue {
    return { next: this.#next };
  }
  loadStateDict(state: JsonValue): void {
    this.#next = (state as { next: number }).next;
  }
  async save(hook: string, isInside: boolean): Promise<void> {
    await this.#save(hook, isInside, this.#next++);
  }
}

function checkpointsOf(configuration: Configuration, folder: string): readonly ModelCheckpoint[] {
  const { saveTopK, saveLast, secondTrigger, valLoaders } = configuration;
  const trigger = {
    'every 2 steps': { everyNTrainSteps: 2 },
    'every 2.5 s': { trainTimeInterval: 2500 },
    'every epoch': { everyNEpochs: 1 },
  }[secondTrigger];
  const dirpath = join(folder, 'checkpoints');
  return [
    new ModelCheckpoint({
      dirpath: join(dirpath, 'best'),
      monitor: monitorOf(valLoaders),
      saveTopK,
      saveLast,
      filename: '{epoch}/{step}',
    }),
    new ModelCheckpoint({ dirpath: join(dirpath, 'newest'), ...trigger, saveLast: 'link' }),
  ];
}

function validationOf({ validation, batches }: Configuration): TrainerOptions {
  switch (validation) {
    case 'each epoch':
      return {};
    case 'half an epoch':
      return { valCheckInterval: 0.5 };
    case 'every 2 batches':
      return { valCheckInterval: { batches: Math.min(2, batches) } };
    case 'every 3 batches across epochs':
      return { valCheckInterval: { batches: 3 }, checkValEveryNEpoch: null };
    case 'every 2 epochs':
      return { checkValEveryNEpoch: 2 };
  }
}

function limit(batches: number | undefined): TrainerOptions['limitTrainBatches'] {
  return batches === undefined ? 1 : { batches };
}

function trainData({ loader, batches }: Configuration): DataSource<Batch> {
  const all = Array.from({ length: batches }, (_, i) => [(i % 3) / 2, 1 - i / 4]);
  const items = [...all.flat().slice(1), 0.75];
  switch (loader) {
    case 'shuffled':
      return new DataLoader(items, { batchSize: 2, shuffle: true, seed: 5 });
    case 'in order':
      return new DataLoader(items, { batchSize: 2 });
    case 'drop last':
      return new DataLoader([...items, 2], { batchSize: 2, shuffle: true, dropLast: true });
    case 'array':
      return all;
    case 'iterable without length':
      return {
        *[Symbol.iterator]() {
          yield* all;
        },
      };
  }
}

/** One is shuffled, so that its order is a part of the state. */
function valData({ valLoaders }: Configuration): readonly DataSource<Batch>[] {
  const shuffled = new DataLoader([0.5, 1, 1.5], { shuffle: true, seed: 9 });
  const inOrder = new DataLoader([2, 3, 4]);
  return [shuffled, inOrder].slice(0, valLoaders);
}

/** All files, by their path; a link by what it leads to. */
export function filesIn(folder: string): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const isLink = lstatSync(path).isSymbolicLink();
    files.set(
      path.slice(folder.length + 1),
      isLink ? `-> ${readlinkSync(path)}` : readFileSync(path, 'latin1'),
    );
  }
  return files;
}

/** Time as training tells it: what depends on it is the same in two runs. Returns how to undo it. */
function replaceClock(clock: { readonly ms: number }): () => void {
  const { now } = performance;
  const { now: dateNow } = Date;
  performance.now = () => clock.ms;
  Date.now = () => 1_700_000_000_000 + clock.ms;
  return () => {
    performance.now = now;
    Date.now = dateNow;
  };
}
