import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { ModelCheckpoint } from '../../../callbacks/model-checkpoint.ts';
import type { JsonObject } from '../../../format/json.ts';
import {
  type ForeignLoop,
  ForeignRun,
  type ForeignRunOptions,
} from '../../../trainer/foreign-run.ts';
import { ModelState } from './model-state.ts';
import { takeRestored } from './restored.ts';

/** What `fit` tells its callbacks about itself. */
export interface FitParams {
  readonly initialEpoch?: number | null;
  /** In `fitDataset`: batches of an epoch, when they are known. */
  readonly steps?: number | null;
  /** In `fit`: rows, and rows of a batch. */
  readonly samples?: number | null;
  readonly batchSize?: number | null;
  readonly doValidation?: boolean;
}

/** A callback of one `fit`. */
export interface FitMember {
  readonly checkpoint: ModelCheckpoint;
  readonly options: ForeignRunOptions;
}

/** Values of `fit`'s logs that are no metrics. */
const NO_METRICS: ReadonlySet<string> = new Set(['batch', 'size']);

const sessions = new WeakMap<LayersModel, FitSession>();

/**
 * One call of `model.fit` or `fitDataset`, as all its checkpoint callbacks see it together: they decide in
 * one round and share one snapshot, so the last of them speaks for all.
 */
export class FitSession implements ForeignLoop {
  readonly state: ModelState;
  readonly #model: LayersModel;
  readonly #members: FitMember[] = [];
  readonly #params: FitParams;
  #run: ForeignRun | undefined;
  #epoch = 0;
  /** With which epoch a resume goes on. */
  #nextEpoch = 0;
  #isMidEpoch = false;
  #resumeEpoch: number | undefined;

  private constructor(model: LayersModel, params: FitParams) {
    this.#model = model;
    this.#params = params;
    this.state = new ModelState(model);
  }

  /** The session of the `fit` that begins now. */
  static join(model: LayersModel, member: FitMember, params: FitParams): FitSession {
    let session = sessions.get(model);
    // One that has begun belongs to an earlier fit, which may have thrown.
    if (session === undefined || session.#run !== undefined)
      session = new FitSession(model, params);
    sessions.set(model, session);
    session.#members.push(member);
    return session;
  }

  get hasValidation(): boolean {
    return this.#params.doValidation === true;
  }

  position(): { readonly epoch: number; readonly globalStep: number } {
    return { epoch: this.#epoch, globalStep: this.state.optimizer?.iterations ?? 0 };
  }

  content(): JsonObject {
    return { fit: { initialEpoch: this.#nextEpoch, isMidEpoch: this.#isMidEpoch } };
  }

  /** The run, to the member that speaks for all; undefined to the others. */
  #speak(member: FitMember): ForeignRun | undefined {
    return member === this.#members.at(-1) ? this.#run : undefined;
  }

  async trainBegin(member: FitMember): Promise<void> {
    if (member !== this.#members.at(-1)) return;
    const restored = takeRestored(this.#model);
    this.#resumeEpoch = restored?.initialEpoch;
    this.#epoch = this.#params.initialEpoch ?? 0;
    this.#nextEpoch = this.#epoch;
    const options = Object.assign({}, ...this.#members.map((each) => each.options));
    const checkpoints = this.#members.map(({ checkpoint }) => checkpoint);
    this.#run = new ForeignRun(this, checkpoints, options);
    for (const checkpoint of checkpoints) warnOfLimits(checkpoint, this.#run);
    await this.#run.begin(restored?.reader);
  }

  epochBegin(member: FitMember, epoch: number): void {
    const run = this.#speak(member);
    if (run === undefined) return;
    if (this.#resumeEpoch !== undefined && this.#resumeEpoch !== epoch) {
      run.warnOnce(
        `model.fit begins with epoch ${epoch}, but the model was restored to go on with epoch ` +
          `${this.#resumeEpoch}: pass what restore gave, fit(x, y, {initialEpoch: ${this.#resumeEpoch}}).`,
      );
    }
    this.#resumeEpoch = undefined;
    this.#epoch = epoch;
    this.#nextEpoch = epoch;
  }

  async batchEnd(member: FitMember, batch: number, logs: JsonObject): Promise<void> {
    const run = this.#speak(member);
    if (run === undefined) return;
    this.#isMidEpoch = batch + 1 !== batchesOf(this.#params);
    this.#nextEpoch = this.#isMidEpoch ? this.#epoch : this.#epoch + 1;
    run.log(metricsIn(logs));
    await run.hook('onTrainBatchEnd');
  }

  async epochEnd(member: FitMember, logs: JsonObject): Promise<void> {
    const run = this.#speak(member);
    if (run === undefined) return;
    this.#isMidEpoch = false;
    this.#nextEpoch = this.#epoch + 1;
    const metrics = metricsIn(logs);
    const isValidation = (name: string): boolean => name.startsWith('val_');
    if (this.hasValidation) {
      run.log(pick(metrics, isValidation));
      await run.hook('onValidationEnd');
    }
    run.log(pick(metrics, (name) => !isValidation(name)));
    await run.hook('onTrainEpochEnd');
  }

  async trainEnd(member: FitMember): Promise<void> {
    const run = this.#speak(member);
    if (run === undefined) return;
    sessions.delete(this.#model);
    this.#epoch = this.#nextEpoch;
    await run.hook('onTrainEnd');
    await run.end();
  }
}

/** Batches of an epoch; undefined for a dataset that does not tell. */
function batchesOf({ steps, samples, batchSize }: FitParams): number | undefined {
  return steps ?? (samples && batchSize ? Math.ceil(samples / batchSize) : undefined);
}

function metricsIn(logs: JsonObject): Readonly<Record<string, unknown>> {
  return pick(logs, (name) => !NO_METRICS.has(name));
}

function pick(
  values: Readonly<Record<string, unknown>>,
  isWanted: (name: string) => boolean,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([name]) => isWanted(name)));
}

function warnOfLimits(checkpoint: ModelCheckpoint, run: ForeignRun): void {
  if (checkpoint.everyNTrainSteps > 0 || checkpoint.trainTimeIntervalMs !== undefined) {
    run.warnOnce(
      'modelCheckpoint: model.fit cannot begin in the middle of an epoch. A resume from a file that was saved ' +
        'within an epoch trains that epoch from its beginning, on weights that have seen a part of it. ' +
        'A Trainer goes on with the next batch.',
    );
  }
  if (checkpoint.saveOnException) {
    run.warnOnce(
      'modelCheckpoint({saveOnException: true}): model.fit tells no callback that it fails, so nothing is ' +
        'saved then. A Trainer does.',
    );
  }
}
