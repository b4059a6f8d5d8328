import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import type { Snapshot } from '../saving/snapshot.ts';
import { type FeedPosition, isExactlyResumable, restoreSource } from './batch-feed.ts';
import { captureCheckpoint } from './checkpoint-content.ts';
import type { DataSource } from './data-source.ts';
import type { FitData } from './fit-data.ts';
import type { Ending, FitLoop } from './fit-loop.ts';
import type { Hooks } from './hooks.ts';
import type { LearningRate } from './learning-rate.ts';
import { MetricStore } from './metrics.ts';
import { type Progress, START } from './progress.ts';
import { restoreCheckpoint } from './restore.ts';
import { Rng, type RngState } from './rng.ts';
import type { Trainer } from './trainer.ts';
import type { TrainingModule } from './training-module.ts';

/** Where one `fit` leaves training for the next on the same Trainer. */
export interface Standing {
  readonly progress: Progress;
  /** Counts the saves of a training, its resumes included. */
  readonly sequence: number;
  /** Training time so far, in milliseconds. */
  readonly elapsedMs: number;
  readonly rng: RngState | undefined;
  /** Where the data stood, when the epoch was left in its middle. */
  readonly data: { readonly source: DataSource; readonly position: FeedPosition } | undefined;
  /** For the hooks that come next, when it was left in or before them. */
  readonly ending: Ending | undefined;
}

/** Before any training. */
export const UNTRAINED: Standing = {
  progress: START,
  sequence: 0,
  elapsedMs: 0,
  rng: undefined,
  data: undefined,
  ending: undefined,
};

/** Everything of a training that a checkpoint holds, and the ways out of it and back in. */
export class TrainingState {
  readonly metrics: MetricStore;
  readonly rng: Rng;
  data: FitData | undefined;
  learningRate: LearningRate | undefined;
  loop: FitLoop | undefined;
  /** The epoch that a sanity check after a resume reports: the checkpoint's, as Lightning does. */
  sanityEpoch: number | undefined;
  #standing: Standing;
  readonly #trainer: Trainer;
  readonly #module: TrainingModule;
  readonly #hooks: Hooks;

  constructor(trainer: Trainer, module: TrainingModule, hooks: Hooks, standing: Standing) {
    this.#trainer = trainer;
    this.#module = module;
    this.#hooks = hooks;
    this.#standing = standing;
    this.metrics = new MetricStore(module, trainer.ranks);
    this.rng = new Rng(trainer.settings.seed);
    if (standing.rng !== undefined) this.rng.loadStateDict(standing.rng);
  }

  get progress(): Progress {
    return this.loop?.progress ?? this.#standing.progress;
  }

  /** Where training stands, for the next `fit` on this Trainer. */
  get standing(): Standing {
    const { loop, data } = this;
    if (loop === undefined || data === undefined) return this.#standing;
    const { progress, elapsedMs } = loop;
    const isMidEpoch = progress.batchesInEpoch > 0 && progress.next !== 'finished';
    return {
      progress,
      sequence: this.#standing.sequence,
      elapsedMs,
      rng: this.rng.stateDict(),
      data: isMidEpoch ? { source: data.train, position: loop.feedPosition } : undefined,
      ending: loop.ending,
    };
  }

  /** Training has stopped: the loop is about to close, and its data with it. */
  leave(): void {
    this.#standing = this.standing;
    this.loop = undefined;
  }

  /** Goes on where the last `fit` on this Trainer stopped: data left in mid-epoch goes on where it stood. */
  goOn({ train }: FitData): Standing {
    const { progress, data } = this.#standing;
    if (data?.source === train) {
      restoreSource(train, data.position);
    } else if (data !== undefined) {
      // Other data: the epoch that was left begins anew with it.
      const anew: Progress = { ...progress, next: 'epochStart', batchesInEpoch: 0 };
      this.#standing = { ...this.#standing, progress: anew };
    }
    return this.#standing;
  }

  /** Goes on where a checkpoint was saved. */
  async restore(
    reader: CheckpointReader,
    data: FitData,
    learningRate: LearningRate,
  ): Promise<Standing> {
    const trainer = this.#trainer;
    const restored = await restoreCheckpoint(reader, {
      trainer,
      module: this.#module,
      hooks: this.#hooks,
      metrics: this.metrics,
      rng: this.rng,
      learningRate,
      data,
    });
    this.#standing = { ...this.#standing, ...restored, data: undefined };
    trainer.resumedFrom = reader.path;
    trainer.shouldStop = reader.document?.shouldStop === true;
    const { epoch } = reader.document ?? {};
    this.sanityEpoch = Number.isSafeInteger(epoch) ? Number(epoch) : restored.progress.epoch;
    const isMidEpoch = !['epochStart', 'finished'].includes(restored.progress.next);
    if (isMidEpoch && !isExactlyResumable(data.train)) {
      trainer.warnOnce(
        'The training data has neither a state nor a length, so this resume in the middle of an epoch cannot ' +
          'be exact: batches are skipped by iterating past them. Use a DataLoader.',
      );
    }
    return this.#standing;
  }

  /** The error of one rank alone has parted it from the others: the rest of the state is that of all. */
  #warnOfCutOff(): void {
    const { cutOff } = this.metrics;
    if (cutOff.length === 0) return;
    const names = cutOff.map((name) => `'${name}'`).join(', ');
    this.#trainer.warnOnce(
      `${names}: what other ranks have logged since the last save cannot be had any more. A run that is resumed from ` +
        `what is saved now has another value for this epoch; its weights are the same.`,
    );
  }

  /** Takes hold of everything a checkpoint holds, now. */
  async capture(): Promise<Snapshot> {
    const sequence = this.#standing.sequence + 1;
    this.#standing = { ...this.#standing, sequence };
    const { metrics, rng, learningRate, data, loop } = this;
    this.#warnOfCutOff();
    return await captureCheckpoint({
      trainer: this.#trainer,
      module: this.#module,
      hooks: this.#hooks,
      metrics,
      rng: loop?.rng ?? rng.stateDict(),
      learningRate,
      data,
      progress: loop?.resumePoint ?? START,
      elapsedMs: loop?.elapsedMs ?? 0,
      trainPosition: loop?.feedPosition,
      valPositions: loop?.validationPositions ?? [],
      state: loop?.stateBefore,
      ending: loop?.ending,
      sequence,
    });
  }
}
