import {
  ModelCheckpoint,
  type ModelCheckpointOptions,
  type Storage,
  Trainer,
  type TrainerOptions,
} from '../../../src/index.ts';
import type { SaveReport } from '../../../src/saving/save-job.ts';
import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { ArrayModule, type LossAndGradients } from '../../support/array-module.ts';

export const FOLDER = '/runs/checkpoints';
export const LEARNING_RATE = 0.125;
const BATCHES = 2;

/** What a training saves, and how often it is begun again. */
export interface Workload {
  readonly name: string;
  readonly callbacks: readonly ModelCheckpointOptions[];
  /** The loss that each optimizer step logs, the first first. */
  readonly losses: readonly number[];
  /** The epochs (of two steps) after which a process ends and the next one goes on. Default: one process. */
  readonly ends?: readonly number[];
  /** Processes that train at the same time in the same folder. Default 1. */
  readonly processes?: number;
  /** What lies in the folder before. */
  readonly before?: (fs: FileSystem) => Promise<void>;
  /** The file system has no hard links. */
  readonly withoutLinks?: boolean;
  /** The journal is explored as well. */
  readonly journals?: boolean;
  /** Weights of a size that is written in two parts, with the checksums put in last. */
  readonly isLarge?: boolean;
  readonly trainer?: TrainerOptions;
  /** Why training that goes on after a power cut may leave other files than an uninterrupted one. */
  readonly endsOtherwise?: string;
}

/** The weight tells how many steps were taken, and the loss follows from that: no state but the weights. */
class Model extends ArrayModule {
  readonly #losses: readonly number[];

  constructor({ losses, isLarge = false }: Workload, process: number) {
    super({ steps: [0], ...(isLarge && { ballast: new Float32Array(2 ** 20) }) });
    this.#losses = losses;
    this.saveHyperparameters({ process });
  }
  override trainingStep(): LossAndGradients {
    const steps = this.weight('steps');
    const loss = this.#losses[-steps[0]! / LEARNING_RATE] ?? 0;
    this.log('loss', loss);
    return { loss, gradients: { steps: steps.map(() => 1) } };
  }
}

class Reporting extends ModelCheckpoint {
  readonly #saved: (report: SaveReport) => void;

  constructor(options: ModelCheckpointOptions, saved: (report: SaveReport) => void) {
    super({ dirpath: FOLDER, everyNTrainSteps: 1, ...options });
    this.#saved = saved;
  }
  override onSaved(report: SaveReport): void {
    super.onSaved(report);
    this.#saved(report);
  }
}

export interface TrainingOptions {
  readonly storage: Storage;
  /** Which of several processes it is; stands in its checkpoints. Default 0. */
  readonly process?: number | undefined;
  readonly maxEpochs?: number;
  readonly ckptPath?: 'last' | undefined;
  /** A save is acknowledged. */
  readonly onSaved?: (report: SaveReport) => void;
  /** It goes on from this file. */
  readonly onResumed?: (path: string) => void;
}

export interface Outcome {
  readonly error: unknown;
  readonly warnings: readonly string[];
  readonly resumedFrom: string | undefined;
  readonly globalStep: number;
  readonly callbacks: readonly ModelCheckpoint[];
}

/** One process: trains with the real Trainer until `maxEpochs` (default: the workload's end). */
export async function train(workload: Workload, options: TrainingOptions): Promise<Outcome> {
  const {
    storage,
    process = 0,
    maxEpochs = epochsOf(workload),
    ckptPath,
    onSaved = () => {},
    onResumed,
  } = options;
  const warnings: string[] = [];
  // All callbacks that have a name in a save are told of it.
  const reports = new Set<SaveReport>();
  const saved = (report: SaveReport): void => {
    if (!reports.has(report)) onSaved(report);
    reports.add(report);
  };
  const callbacks = workload.callbacks.map((options) => new Reporting(options, saved));
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    console: {
      info: () => {
        if (trainer.resumedFrom !== undefined) onResumed?.(trainer.resumedFrom);
      },
      warn: (message) => warnings.push(message),
    },
    ...workload.trainer,
    maxEpochs,
    storage,
    callbacks,
  });
  let error: unknown;
  try {
    const trainDataloaders = Array.from({ length: BATCHES }, () => 0);
    await trainer.fit(new Model(workload, process), { trainDataloaders, ckptPath });
  } catch (thrown) {
    error = thrown;
  }
  const { globalStep, resumedFrom } = trainer;
  return { error, warnings, resumedFrom, globalStep, callbacks };
}

export const epochsOf = ({ losses }: Workload): number => Math.ceil(losses.length / BATCHES);

/** The files that a callback counts as its own. */
export function keptBy({ bestKModels, bestModelPath, lastModelPath }: ModelCheckpoint): string[] {
  return [...bestKModels.keys(), bestModelPath, lastModelPath].filter((path) => path !== '');
}
