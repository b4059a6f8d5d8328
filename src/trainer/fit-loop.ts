import type { StateEntry } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import { nextMacrotask } from '../event-loop.ts';
import type { JsonValue } from '../format/json.ts';
import type { FedBatch, FeedPosition } from './batch-feed.ts';
import { runEvaluation } from './evaluation-loop.ts';
import type { FitContext } from './fit-context.ts';
import { logRow } from './log-row.ts';
import type { NextStep, Progress } from './progress.ts';
import type { RngState } from './rng.ts';
import { isValidationDue } from './schedule.ts';
import { Stopping } from './stopping.ts';
import { TrainingBatch } from './training-batch.ts';

/** `fit` was asked to stop by its signal; the state is saved. */
export class Interrupted extends Error {}

/** What {@link FitLoop.rewind} goes back to. */
interface Mark {
  readonly rng: RngState;
  readonly learningRate: readonly JsonValue[];
}

/** What a batch that is done, or a validation, has left for its end hooks and for the loggers. */
export interface Ending {
  /** Of a batch: the engine's scalar, or the number that a checkpoint keeps of it. */
  readonly loss: unknown;
  /** Metrics that are still to be logged. */
  readonly names: readonly string[];
}

const NO_ENDING: Ending = { loss: undefined, names: [] };

/**
 * Training as a walk over {@link NextStep}s. `progress` is where it stands after the last hook that
 * completed; `resumePoint` is what a checkpoint taken now must store.
 */
export class FitLoop {
  readonly #context: FitContext;
  #progress: Progress;
  #after: Progress | undefined;
  readonly #stopping: Stopping;
  readonly #batchInHand: TrainingBatch;
  #mark: Mark;
  /** For the hooks that come next; a run that was saved before or in them is given it back. */
  #ending: Ending;
  /** While a validation is under way: where its data stood before it. */
  #validationData: readonly JsonValue[] | undefined;

  constructor(
    context: FitContext,
    progress: Progress,
    elapsedMs: number,
    ending: Ending | undefined,
  ) {
    this.#context = context;
    this.#progress = progress;
    this.#stopping = new Stopping(context, elapsedMs);
    this.#batchInHand = new TrainingBatch(context);
    this.#ending = ending ?? NO_ENDING;
    this.#mark = this.#markNow();
  }

  /** Training time so far, in milliseconds, the runs resumed from included. */
  get elapsedMs(): number {
    return this.#stopping.elapsedMs;
  }

  get progress(): Progress {
    return this.#progress;
  }

  get resumePoint(): Progress {
    return this.#after ?? this.#progress;
  }

  /** Where the training data stands, for a checkpoint. */
  get feedPosition(): FeedPosition {
    return this.#batchInHand.position(servedBatches(this.resumePoint));
  }

  /** Where each source of validation data stands, for a checkpoint: a validation is run again as a whole. */
  get validationPositions(): readonly JsonValue[] {
    return this.#validationData ?? this.#validationStates();
  }

  /**
   * The random numbers, for a checkpoint: a hook in which a user saves is run again on resume, so what it has
   * drawn does not count yet.
   */
  get rng(): RngState {
    return this.#after === undefined ? this.#mark.rng : this.#context.rng.stateDict();
  }

  /** The module's tensors, when a batch is under way that will be run again; undefined: as they are. */
  get stateBefore(): readonly StateEntry[] | undefined {
    return this.#batchInHand.stateBefore;
  }

  /** What the next hooks are given, for a checkpoint or the next `fit`; undefined when they need nothing. */
  get ending(): Ending | undefined {
    const { next } = this.resumePoint;
    return next === 'batchEnd' || next === 'validationEnd' ? this.#ending : undefined;
  }

  /** Whether nothing is left to train: between epochs at any limit, within one beyond the last. */
  get isNothingLeft(): boolean {
    const { next, epoch } = this.#progress;
    if (next === 'epochStart') return this.#stopping.isLimitReached(this.#progress);
    const isTraining = next !== 'trainEnd' && next !== 'trainSave';
    return isTraining && epoch >= this.#context.settings.maxEpochs;
  }

  async run(): Promise<void> {
    const steps: Record<Exclude<NextStep, 'finished'>, () => Promise<void>> = {
      epochStart: () => this.#epochStart(),
      batch: () => this.#batch(),
      batchEnd: () => this.#batchEnd(),
      batchSave: () => this.#batchSave(),
      validation: () => this.#validation(),
      validationEnd: () => this.#validationEnd(),
      validationSave: () => this.#validationSave(),
      epochEnd: () => this.#epochEnd(),
      epochSave: () => this.#epochSave(),
      trainEnd: () => this.#trainEnd(),
      trainSave: () => this.#trainSave(),
    };
    for (let { next } = this.#progress; next !== 'finished'; next = this.#progress.next) {
      await steps[next]();
      if (this.ending !== undefined) continue;
      await this.agree();
      const { isInterrupted } = this.#stopping;
      if (isInterrupted && this.#progress.next !== 'finished') {
        throw this.#context.ranks.share(new Interrupted());
      }
    }
  }

  /** All ranks come to know of what one of them has been told to stop by. */
  async agree(): Promise<void> {
    await this.#stopping.agree();
  }

  /** Goes back to the last hook that completed: what the failed one drew and logged is forgotten. */
  rewind(): void {
    this.#after = undefined;
    this.#context.metrics.discard();
    this.#context.rng.loadStateDict(this.#mark.rng);
    this.#context.learningRate.loadStateDict(this.#mark.learningRate);
  }

  #markNow(): Mark {
    const { rng, learningRate } = this.#context;
    return { rng: rng.stateDict(), learningRate: learningRate.stateDict() };
  }

  async close(): Promise<void> {
    await this.#batchInHand.close();
  }

  #move(change: Partial<Progress>): void {
    this.#progress = { ...this.#progress, ...change };
    this.#mark = this.#markNow();
  }

  /** A hook's checkpoint decisions: whatever is saved here resumes with `after`. */
  async #save(after: Partial<Progress>, decide: () => Promise<void>): Promise<void> {
    this.#after = { ...this.#progress, ...after };
    await this.#context.checkpointing.round(decide);
    this.#settle();
  }

  /** The save is decided: from here on training stands where the checkpoint does. */
  #settle(): void {
    if (this.#after !== undefined) this.#move(this.#after);
    this.#after = undefined;
  }

  async #epochStart(): Promise<void> {
    if (this.#stopping.isLimitReached(this.#progress)) {
      this.#move({ next: 'trainEnd' });
      return;
    }
    const { hooks, metrics } = this.#context;
    await this.#setEpoch(this.#progress.epoch);
    this.#scope(false);
    await hooks.run('onTrainEpochStart');
    metrics.commit();
    this.#move({ next: 'batch', batchesInEpoch: 0, isLastBatch: false, tookStep: false });
  }

  async #setEpoch(epoch: number): Promise<void> {
    const { hooks, data } = this.#context;
    await hooks.guard('setEpoch', () => data.train.setEpoch?.(epoch));
  }

  async #batch(): Promise<void> {
    const { hooks, metrics, settings, data, ranks } = this.#context;
    const { epoch, batchesInEpoch: batchIdx, totalBatches, globalStep } = this.#progress;
    const batch = this.#batchInHand;
    // Asked late, so that a resume with a higher limit goes on.
    if (this.#stopping.closesEpoch(this.#progress)) {
      this.#move({ next: 'epochEnd' });
      return;
    }
    const fed = await batch.fetch(batchIdx);
    if (fed === undefined) {
      if (batchIdx === 0) throw ranks.share(emptyData(epoch));
      this.#move({ next: 'epochEnd', isLastBatch: true });
      return;
    }
    batch.begin(fed);
    this.#scope(true);
    if (await this.#skipsEpoch(fed, batchIdx)) {
      metrics.commit();
      this.#move({ next: 'epochEnd', isLastBatch: false });
      batch.leave();
      await nextMacrotask();
      return;
    }
    const { isLast } = fed;
    const tookStep = isLast || (batchIdx + 1) % settings.accumulateGradBatches === 0;
    const loss = await batch.step(fed, batchIdx, tookStep);
    await hooks.run('onAfterBackward');
    if (tookStep) await hooks.run('onBeforeOptimizerStep');
    await metrics.syncSteps('train');
    // From here until the place is moved on, nothing but the step itself may fail.
    if (tookStep) await this.#optimizerStep();
    const step = globalStep + (tookStep ? 1 : 0);
    metrics.commit();
    this.#ending = { loss, names: metrics.publishStep('train', globalStep + 1) };
    this.#move({
      next: 'batchEnd',
      batchesInEpoch: batchIdx + 1,
      totalBatches: totalBatches + 1,
      globalStep: step,
      isLastBatch: isLast || batchIdx + 1 >= data.trainBatches,
      tookStep,
    });
    batch.leave(fed);
    if (tookStep) await this.#schedule('step', false);
    this.#mark = this.#markNow();
  }

  /** Whether the module wants no more of this epoch. */
  async #skipsEpoch({ batch }: FedBatch, batchIdx: number): Promise<boolean> {
    const { module, hooks, ranks } = this.#context;
    const skips = (await hooks.run('onTrainBatchStart', batch, batchIdx)) === -1;
    if (module.onTrainBatchStart === undefined) return skips;
    // Each rank sees a part of its own of the batch: what one decides is done by all.
    return (await ranks.reduce([Number(skips)], 'max'))[0] === 1;
  }

  async #batchEnd(): Promise<void> {
    const { module, hooks, metrics } = this.#context;
    const { batchesInEpoch, globalStep, tookStep } = this.#progress;
    const batchIdx = batchesInEpoch - 1;
    const fed = await this.#batchInHand.again(batchIdx);
    const { loss, names } = this.#ending;
    this.#scope(true);
    await hooks.run('onTrainBatchEnd', { loss }, fed?.batch, batchIdx);
    await metrics.syncSteps('train');
    // A number is what is left of a loss after a resume.
    if (typeof loss !== 'number') module.release(loss);
    this.#batchInHand.complete();
    metrics.commit();
    const measuredFor = tookStep ? globalStep : globalStep + 1;
    const more = metrics.publishStep('train', measuredFor);
    await this.#logSteps([...new Set([...names, ...more])]);
    this.#move({ next: 'batchSave' });
    await nextMacrotask();
  }

  /** Moves the learning rate on, where it is due; `monitored` as in {@link ScheduleMoment}. */
  async #schedule(interval: 'step' | 'epoch', monitored: boolean | 'both'): Promise<void> {
    const { hooks, learningRate, metrics, ranks } = this.#context;
    const { globalStep, epoch } = this.#progress;
    const count = interval === 'step' ? globalStep : epoch + 1;
    await hooks.guard('lrScheduler.step', () =>
      learningRate.step({ interval, count, monitored }, async (name) => {
        const value = await ranks.fromZero(async () => (await metrics.value(name)) ?? null);
        return value ?? undefined;
      }),
    );
  }

  async #optimizerStep(): Promise<void> {
    const { hooks, module, settings } = this.#context;
    const { gradientClipVal: value, gradientClipAlgorithm: algorithm } = settings;
    await hooks.guard('optimizerStep', () =>
      module.optimizerStep(value === undefined ? undefined : { value, algorithm }),
    );
  }

  async #batchSave(): Promise<void> {
    const { hooks, plan, completed } = this.#context;
    const isValidation = isValidationDue(
      plan,
      this.#progress,
      this.#stopping.isDue(this.#progress),
    );
    if (this.#progress.tookStep && !isValidation) await this.#schedule('step', true);
    const next = isValidation ? 'validation' : this.#afterBatch();
    await this.#save({ next }, () => hooks.runCheckpoints('onTrainBatchEnd'));
    await completed('trainBatchEnd', { batchIdx: this.#progress.batchesInEpoch - 1 });
  }

  #afterBatch(): NextStep {
    return this.#progress.isLastBatch ? 'epochEnd' : 'batch';
  }

  async #validation(): Promise<void> {
    const { metrics, data } = this.#context;
    await metrics.reset('validation');
    this.#validationData = this.#validationStates();
    const context = {
      ...this.#context,
      sources: data.val,
      limits: data.valLimits,
      logBatch: (names: readonly string[]) => this.#log(names),
    };
    const { names } = await runEvaluation(context, 'validation', this.#progress.globalStep);
    if (this.#progress.tookStep) await this.#schedule('step', true);
    this.#ending = { loss: undefined, names };
    this.#validationData = undefined;
    this.#move({ next: 'validationEnd', validations: this.#progress.validations + 1 });
  }

  async #validationEnd(): Promise<void> {
    this.#context.setScope(undefined);
    await this.#context.hooks.run('onValidationEnd');
    this.#scope(true);
    await this.#log(this.#ending.names);
    this.#move({ next: 'validationSave' });
  }

  #validationStates(): readonly JsonValue[] {
    return this.#context.data.val.map((source) => source.stateDict?.() ?? null);
  }

  async #validationSave(): Promise<void> {
    const { hooks, completed } = this.#context;
    await this.#save({ next: this.#afterBatch() }, () => hooks.runCheckpoints('onValidationEnd'));
    await completed('validationEnd');
  }

  async #epochEnd(): Promise<void> {
    const { hooks, metrics } = this.#context;
    this.#scope(false);
    await hooks.run('onTrainEpochEnd');
    await metrics.syncSteps('train');
    metrics.commit();
    const { globalStep, isLastBatch } = this.#progress;
    const steps = metrics.publishStep('train', globalStep);
    const epochs = await metrics.publishEpoch('train', globalStep);
    await this.#log([...new Set([...steps, ...epochs])]);
    // An epoch that was cut short moves no schedule, as in Lightning 2.6.
    if (isLastBatch) await this.#schedule('epoch', 'both');
    await this.close();
    // A resume after the epoch's last batch opens no feed that would move the source on.
    await this.#setEpoch(this.#progress.epoch + 1);
    this.#move({ next: 'epochSave' });
  }

  async #epochSave(): Promise<void> {
    const { hooks, completed } = this.#context;
    const { epoch } = this.#progress;
    const after = { next: 'epochStart', epoch: epoch + 1, batchesInEpoch: 0 } as const;
    this.#after = { ...this.#progress, ...after };
    await this.#context.checkpointing.round(() => hooks.runCheckpoints('onTrainEpochEnd'));
    await completed('trainEpochEnd');
    this.#settle();
  }

  async #trainEnd(): Promise<void> {
    this.#context.setScope(undefined);
    await this.#context.hooks.run('onTrainEnd');
    this.#move({ next: 'trainSave' });
  }

  async #trainSave(): Promise<void> {
    await this.saveTrainEnd();
    await this.#context.completed('trainEnd');
  }

  /** What the callbacks save at the end of training. */
  async saveTrainEnd(): Promise<void> {
    await this.#save({ next: 'finished' }, () => this.#context.hooks.runCheckpoints('onTrainEnd'));
  }

  #scope(isBatchHook: boolean): void {
    this.#context.setScope({ stage: 'train', isBatchHook, suffix: '' });
  }

  async #logSteps(names: readonly string[]): Promise<void> {
    const { logEveryNSteps } = this.#context.settings;
    const { tookStep, globalStep } = this.#progress;
    if (!tookStep || logEveryNSteps === 0 || globalStep % logEveryNSteps !== 0) return;
    await this.#log(names);
  }

  async #log(names: readonly string[]): Promise<void> {
    const { hooks, loggers, metrics } = this.#context;
    await logRow(hooks, loggers, metrics, names, this.#progress);
  }
}

/** Batches of the epoch that the data has served for good: the one whose end is to come is served again. */
function servedBatches({ next, batchesInEpoch }: Progress): number {
  return next === 'batchEnd' ? batchesInEpoch - 1 : batchesInEpoch;
}

function emptyData(epoch: number): MisconfigurationError {
  return new MisconfigurationError(
    `The training data is empty: its iterator gave no batch in epoch ${epoch}. A generator can be iterated ` +
      `once only: give an array, a DataLoader, or an object whose [Symbol.iterator] starts anew.`,
  );
}
