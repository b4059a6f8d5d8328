import { checkOptionNames, type OptionNames } from '../option-check.ts';
import type { Trainer } from '../trainer/trainer.ts';
import type { TrainingModule } from '../trainer/training-module.ts';
import type { Callback } from './callback.ts';
import type { ProgressStage, ProgressView } from './progress-bar/progress-line.ts';
import { ProgressPainter, type ProgressStream } from './progress-bar/progress-painter.ts';

/** What `new ProgressBar(options)` takes. */
export interface ProgressBarOptions {
  /** Where it is shown. Default `process.stderr`; in a browser nothing is. */
  readonly stream?: ProgressStream;
}

const NAMES: OptionNames<ProgressBarOptions> = {
  stream: true,
};

/**
 * Shows how training goes: epoch and step, rate, time left, the metrics logged with `progBar`, and whether
 * a save is in flight. On a terminal it is one line that is written over, elsewhere a plain line every ten
 * seconds and at each epoch's end. The Trainer adds one unless `enableProgressBar` is false.
 */
export class ProgressBar implements Callback {
  readonly #painter: ProgressPainter | undefined;
  #stage: ProgressStage = 'train';
  #batch = 0;
  #firstBatch = 0;
  #startedMs = 0;

  constructor(options: ProgressBarOptions = {}) {
    checkOptionNames('ProgressBar', options, NAMES);
    const { process } = globalThis as { process?: { stderr?: ProgressStream } };
    const stream = options.stream ?? process?.stderr;
    this.#painter = stream === undefined ? undefined : new ProgressPainter(stream);
  }

  onSanityCheckStart(): void {
    this.#begin('sanity');
  }
  onTrainStart(trainer: Trainer): void {
    // A resume in mid-epoch has no epoch start.
    this.#begin('train', trainer.batchesInEpoch);
  }
  onTrainEpochStart(): void {
    this.#begin('train');
  }
  onTrainBatchEnd(trainer: Trainer): void {
    if (this.#stage !== 'train') this.#resumeTraining(trainer);
    this.#batch = trainer.batchesInEpoch;
    this.#update(trainer);
  }
  onValidationStart(trainer: Trainer): void {
    if (trainer.sanityChecking) return;
    this.#training = { startedMs: this.#startedMs, firstBatch: this.#firstBatch };
    this.#begin('validate');
  }
  onValidationBatchEnd(trainer: Trainer): void {
    this.#batch++;
    this.#update(trainer);
  }
  onValidationEnd(trainer: Trainer): void {
    if (trainer.stage === 'validate') this.#painter?.end();
  }
  onTestStart(): void {
    this.#begin('test');
  }
  onTestBatchEnd(trainer: Trainer): void {
    this.onValidationBatchEnd(trainer);
  }
  onTestEnd(): void {
    this.#painter?.end();
  }
  onPredictStart(): void {
    this.#begin('predict');
  }
  onPredictBatchEnd(trainer: Trainer): void {
    this.onValidationBatchEnd(trainer);
  }
  onPredictEnd(): void {
    this.#painter?.end();
  }
  onTrainEpochEnd(trainer: Trainer): void {
    this.#resumeTraining(trainer);
    this.#painter?.endEpoch(this.#view(trainer));
  }
  onTrainEnd(): void {
    this.#painter?.end();
  }
  onException(_trainer: Trainer, _module: TrainingModule, _error: unknown): void {
    this.#painter?.end();
  }
  onMessage(): void {
    this.#painter?.clear();
  }
  /** A run that is interrupted ends in no other hook. */
  teardown(): void {
    this.#painter?.end();
  }

  /** When and where the epoch's training began, while a validation is shown. */
  #training: { readonly startedMs: number; readonly firstBatch: number } | undefined;

  #begin(stage: ProgressStage, firstBatch = 0): void {
    this.#stage = stage;
    this.#batch = firstBatch;
    this.#firstBatch = firstBatch;
    this.#startedMs = performance.now();
  }

  #resumeTraining(trainer: Trainer): void {
    this.#stage = 'train';
    this.#batch = trainer.batchesInEpoch;
    if (this.#training !== undefined) {
      this.#startedMs = this.#training.startedMs;
      this.#firstBatch = this.#training.firstBatch;
    }
    this.#training = undefined;
  }

  #update(trainer: Trainer): void {
    if (this.#painter?.isDue) this.#painter.update(this.#view(trainer));
  }

  #view(trainer: Trainer): ProgressView {
    const isTraining = this.#stage === 'train';
    const { numTrainingBatches, numValBatches, settings } = trainer;
    const perLoader = this.#stage === 'sanity' ? settings.numSanityValSteps : Infinity;
    const evaluated = numValBatches.reduce((sum, n) => sum + Math.min(n, perLoader), 0);
    return {
      stage: this.#stage,
      epoch: trainer.currentEpoch,
      maxEpochs: settings.maxEpochs,
      batch: this.#batch,
      batches: isTraining ? numTrainingBatches : evaluated,
      firstBatch: this.#firstBatch,
      elapsedMs: performance.now() - this.#startedMs,
      globalStep: trainer.globalStep,
      metrics: trainer.progressBarMetrics,
      saving: trainer.pendingSaves > 0,
    };
  }
}
