import type { MetricReading } from '../checkpoint/monitor.ts';
import type { EngineTensors } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { checkOptionNames } from '../option-check.ts';
import { EpochReduction, type ReduceFx } from './epoch-reduction.ts';
import {
  LOG_NAMES,
  type LogOptions,
  type LogScope,
  type LogValue,
  REDUCTIONS,
  type ResolvedLogOptions,
  resolveLogOptions,
} from './log-options.ts';
import { type RankMetric, RankValues, valueOfAll, valuesOfAll } from './rank-values.ts';
import { Ranks } from './ranks.ts';
import { Scalar } from './scalar.ts';
import { type BatchShare, WHOLE } from './share.ts';
import { storedMetrics } from './stored-metrics.ts';
import { type Shown, VisibleMetrics } from './visible-metrics.ts';

/** One metric of the running epoch. A name may have two: from hooks of batches and from hooks of the epoch. */
interface Running {
  readonly name: string;
  readonly isBatchHook: boolean;
  readonly options: ResolvedLogOptions;
  readonly epoch: EpochReduction;
  /** What other ranks do not know of yet. */
  readonly ofRank: RankValues;
  step: Scalar | undefined;
  /** What the step's value counts, among those of the ranks. */
  stepShare: BatchShare;
}

type Stage = LogScope['stage'];

/** A value that counts once its hook has completed. */
interface Staged {
  readonly name: string;
  readonly scalar: Scalar;
  readonly options: LogOptions;
  readonly scope: LogScope;
  readonly share: BatchShare;
  /** The step's value of all ranks, when they have put it together. */
  ofAll?: Scalar;
}

/** The value of a step that the ranks put together. */
interface SyncedStep {
  readonly name: string;
  readonly reduceFx: ReduceFx;
  readonly scalar: Scalar;
  readonly share: BatchShare;
  put(ofAll: Scalar): void;
}

/**
 * Everything that was logged. Within a hook, logged values are staged; they count when the hook has
 * completed ({@link commit}), so a hook that throws leaves no trace. Tensors are read only when something
 * needs their value.
 */
export class MetricStore {
  /** How much of the present batch is this rank's: what its hooks log counts accordingly. */
  share: BatchShare = WHOLE;
  readonly #engine: EngineTensors;
  readonly #ranks: Ranks;
  readonly #visible = new VisibleMetrics();
  readonly #running: Record<Stage, Map<string, Running>> = {
    train: new Map(),
    validation: new Map(),
    test: new Map(),
  };
  #staged: Staged[] = [];

  constructor(engine: EngineTensors, ranks: Ranks = new Ranks()) {
    this.#engine = engine;
    this.#ranks = ranks;
  }

  /** Stages a value. @throws MisconfigurationError for a bad name, value, `batchSize` or `reduceFx`. */
  log(name: string, value: LogValue, options: LogOptions, scope: LogScope): void {
    if (typeof name !== 'string' || name === '') {
      throw new MisconfigurationError(`log: a metric needs a name, but got ${String(name)}.`);
    }
    checkOptionNames(`log('${name}')`, options, LOG_NAMES);
    const batchSize = options.batchSize ?? 1;
    if (!(batchSize > 0 && Number.isFinite(batchSize))) {
      throw new MisconfigurationError(
        `log('${name}'): batchSize is ${String(batchSize)}, but it must be a number above 0.`,
      );
    }
    const { reduceFx = 'mean' } = options;
    if (!REDUCTIONS.has(reduceFx)) {
      throw new MisconfigurationError(
        `log('${name}'): reduceFx is ${String(reduceFx)}, but it must be ${[...REDUCTIONS].join(', ')}.`,
      );
    }
    const shown = options.addDataloaderIdx === false ? name : `${name}${scope.suffix}`;
    this.#checkReduction(shown, reduceFx, scope);
    const scalar = Scalar.of(this.#engine, name, value);
    const { weight: part, copies } = scope.isBatchHook ? this.share : WHOLE;
    // A rank whose share is a stand-in has logged nothing that counts.
    const weight = part === 0 ? 0 : (options.batchSize ?? part) / copies;
    this.#staged.push({ name: shown, scalar, options, scope, share: { weight, copies } });
  }

  /** Here, where it is logged: once a step is taken, nothing may fail before it counts. */
  #checkReduction(name: string, reduceFx: ReduceFx, { stage, isBatchHook }: LogScope): void {
    const staged = this.#staged.find(
      (entry) =>
        entry.name === name &&
        entry.scope.stage === stage &&
        entry.scope.isBatchHook === isBatchHook,
    );
    const running = this.#running[stage].get(keyOf(name, isBatchHook));
    const { reduceFx: before = 'mean' } = running?.options ?? staged?.options ?? { reduceFx };
    if (before === reduceFx) return;
    throw new MisconfigurationError(
      `log('${name}'): reduceFx is '${reduceFx}', but '${before}' was given before in this ` +
        `epoch. One metric has one reduction: use another name.`,
    );
  }

  /** The hook completed: what it logged counts from here on. */
  commit(): void {
    const staged = this.#staged;
    this.#staged = [];
    for (const { name, scalar, options, scope, share, ofAll } of staged) {
      const running = this.#runningOf(name, options, scope);
      if (running.options.onEpoch) {
        const isSynced = running.options.syncDist && this.#ranks.count > 1;
        if (isSynced) running.ofRank.add(scalar, share);
        else running.epoch.add(scalar, share.weight);
      }
      if (running.options.onStep) {
        running.step?.release();
        running.step = ofAll ?? scalar.share();
        running.stepShare = share;
      }
      scalar.release();
    }
  }

  /** The hook failed: what it logged is forgotten. */
  discard(): void {
    for (const { scalar } of this.#staged) scalar.release();
    this.#staged = [];
  }

  #runningOf(name: string, options: LogOptions, scope: LogScope): Running {
    const { isBatchHook } = scope;
    const existing = this.#running[scope.stage].get(keyOf(name, isBatchHook));
    if (existing !== undefined) return existing;
    const resolved = resolveLogOptions(options, scope);
    const running: Running = {
      name,
      isBatchHook,
      options: resolved,
      epoch: new EpochReduction(resolved.reduceFx),
      ofRank: new RankValues(),
      step: undefined,
      stepShare: WHOLE,
    };
    this.#running[scope.stage].set(keyOf(name, isBatchHook), running);
    return running;
  }

  /**
   * Puts together, over the ranks, what was logged for this step with `syncDist`, that of the present hook too: all
   * that may fail on the way has failed before any of it counts.
   */
  async syncSteps(stage: Stage): Promise<void> {
    if (!this.#ranks.areMany) return;
    const steps = this.#syncedSteps(stage);
    // A rank that has logged nothing must know of the others that have.
    const [most] = await this.#ranks.reduce([steps.length], 'max');
    if (most === 0) return;
    const metrics: RankMetric[] = [];
    for (const { name, reduceFx, scalar, share } of steps) {
      metrics.push({ name, reduceFx, values: [{ value: await scalar.value(), ...share }] });
    }
    for (const [i, value] of (await valueOfAll(metrics, this.#ranks)).entries()) {
      steps[i]?.put(Scalar.ofNumber(Math.fround(value)));
    }
  }

  /** The last value of each metric. */
  #syncedSteps(stage: Stage): readonly SyncedStep[] {
    const steps = new Map<string, SyncedStep>();
    const optionsOf = new Map<string, ResolvedLogOptions>();
    for (const [key, running] of this.#running[stage]) {
      const { name, options, step, stepShare: share } = running;
      optionsOf.set(key, options);
      if (!options.syncDist || step === undefined) continue;
      const put = (ofAll: Scalar): void => {
        step.release();
        running.step = ofAll;
      };
      steps.set(key, { name, reduceFx: options.reduceFx, scalar: step, share, put });
    }
    for (const staged of this.#staged) {
      const { name, scalar, scope, share } = staged;
      if (scope.stage !== stage) continue;
      const key = keyOf(name, scope.isBatchHook);
      const options = optionsOf.get(key) ?? resolveLogOptions(staged.options, scope);
      optionsOf.set(key, options);
      if (!options.syncDist || !options.onStep) continue;
      const put = (ofAll: Scalar): void => {
        staged.ofAll = ofAll;
      };
      steps.set(key, { name, reduceFx: options.reduceFx, scalar, share, put });
    }
    return [...steps.values()];
  }

  /** The same for the epoch so far. All ranks have the same afterwards, whenever it is done. */
  async #syncEpoch(stage: Stage): Promise<void> {
    const synced = [...this.#running[stage].values()].filter(
      ({ options }) => options.syncDist && options.onEpoch,
    );
    const metrics: RankMetric[] = [];
    for (const { name, options, ofRank } of synced) {
      metrics.push({ name, reduceFx: options.reduceFx, values: await ofRank.take() });
    }
    const all = this.#ranks.areMany
      ? await valuesOfAll(metrics, this.#ranks)
      : metrics.map(({ values }) => values);
    for (const [i, { epoch }] of synced.entries()) {
      for (const { value, weight } of all[i] ?? []) epoch.add(Scalar.ofNumber(value), weight);
    }
  }

  /** Makes the step values of a stage visible, as measured for `loggedFor`; the names that changed. */
  publishStep(stage: Stage, loggedFor: number): readonly string[] {
    const names: string[] = [];
    for (const running of this.#running[stage].values()) {
      if (running.step === undefined) continue;
      const { name, options } = running;
      const forked = options.onEpoch ? [`${name}_step`] : [];
      // Of an evaluation the bare name is the epoch's, where there is such a value.
      const isBare = stage === 'train' || !options.onEpoch;
      for (const shown of isBare ? [name, ...forked] : forked) {
        this.#visible.show(shown, running.step.share(), loggedFor, options);
        names.push(shown);
      }
      running.step.release();
      running.step = undefined;
    }
    return names;
  }

  /** What a stage has logged for the epoch in batches of which each rank has its own share. */
  unsynced(stage: Stage): readonly string[] {
    if (!this.#ranks.areMany) return [];
    return [...this.#running[stage].values()]
      .filter(({ options, isBatchHook }) => isBatchHook && options.onEpoch && !options.syncDist)
      .map(({ name }) => name);
  }

  /** What the epoch's training has logged with `syncDist` while the other ranks can no longer tell their part of it. */
  get cutOff(): readonly string[] {
    if (this.#ranks.count === 1 || this.#ranks.areMany) return [];
    return [...this.#running.train.values()]
      .filter(({ ofRank }) => !ofRank.isEmpty)
      .map(({ name }) => name);
  }

  /** Reduces the epoch values of a stage and makes them visible; the names that changed. */
  async publishEpoch(stage: Stage, loggedFor: number): Promise<readonly string[]> {
    if (this.#ranks.count > 1) await this.#syncEpoch(stage);
    const names: string[] = [];
    for (const running of this.#running[stage].values()) {
      const value = await running.epoch.take();
      running.step?.release();
      if (value === undefined) continue;
      const { name } = running;
      const forked = running.options.onStep ? [`${name}_epoch`] : [];
      for (const shown of [name, ...forked]) {
        this.#visible.show(shown, Scalar.ofNumber(value), loggedFor, running.options);
        names.push(shown);
      }
    }
    this.#running[stage].clear();
    return [...new Set(names)];
  }

  /** Drops a stage's running sums, unreduced: a validation that starts again. */
  async reset(stage: Stage): Promise<void> {
    for (const { epoch, ofRank, step } of this.#running[stage].values()) {
      await epoch.take();
      await ofRank.take();
      step?.release();
    }
    this.#running[stage].clear();
  }

  /** Forgets everything: what a sanity check logged. */
  async clear(): Promise<void> {
    this.discard();
    await this.reset('train');
    await this.reset('validation');
    await this.reset('test');
    this.#visible.clear();
  }

  /** See {@link VisibleMetrics.values}. */
  values(filter?: (metric: Shown) => boolean): Record<string, number> {
    return this.#visible.values(filter);
  }
  /** See {@link VisibleMetrics.value}. */
  async value(name: string): Promise<number | undefined> {
    return await this.#visible.value(name);
  }
  /** See {@link VisibleMetrics.loggable}. */
  async loggable(names: readonly string[]): Promise<Record<string, number>> {
    return await this.#visible.loggable(names);
  }
  /** See {@link VisibleMetrics.readings}. */
  async readings(globalStep: number): Promise<ReadonlyMap<string, MetricReading>> {
    return await this.#visible.readings(globalStep);
  }

  /** All of it as JSON, for a checkpoint: with `syncDist` that of all ranks, which ask for it together. */
  async stateDict(): Promise<JsonObject> {
    if (this.#ranks.count > 1) await this.#syncEpoch('train');
    const visible = await this.#visible.stateDict();
    const train: JsonValue[] = [];
    for (const { name, options, epoch, isBatchHook } of this.#running.train.values()) {
      train.push([name, { ...options }, await epoch.stateDict(), isBatchHook]);
    }
    return { visible, train };
  }

  /** Puts it back. @throws CheckpointFileError when it is not what {@link stateDict} made. */
  loadStateDict(state: JsonValue): void {
    const { visible, train } = storedMetrics(state);
    for (const [name, value, loggedFor, progBar, logger] of visible) {
      this.#visible.show(name, Scalar.ofNumber(value), loggedFor, { progBar, logger });
    }
    for (const [name, stored, state, isBatchHook = true] of train) {
      const { reduceFx = 'mean', syncDist = false } = stored;
      const options = { ...stored, reduceFx, syncDist };
      const epoch = new EpochReduction(reduceFx, state);
      const ofRank = new RankValues();
      const step = undefined;
      const running = { name, isBatchHook, options, epoch, ofRank, step, stepShare: WHOLE };
      this.#running.train.set(keyOf(name, isBatchHook), running);
    }
  }
}

function keyOf(name: string, isBatchHook: boolean): string {
  return `${isBatchHook ? 'batch' : 'epoch'} ${name}`;
}
