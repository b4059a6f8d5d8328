import type { MetricReading } from '../checkpoint/monitor.ts';
import type { EngineTensors } from '../engines/engine.ts';
import { CheckpointFileError, MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { EpochReduction, type ReduceFx } from './epoch-reduction.ts';
import { Scalar } from './scalar.ts';

/** A number, or one of the engine's scalar tensors. */
export type LogValue = unknown;

/** How a metric is logged. Defaults depend on the hook, as in Lightning: see `TrainingModule.log`. */
export interface LogOptions {
  /** Keep the value of this step. Default: true in training steps, else false. */
  readonly onStep?: boolean;
  /** Keep the mean over the epoch. Default: false in training steps, else true. */
  readonly onEpoch?: boolean;
  /** Show it in the progress bar. Default false. */
  readonly progBar?: boolean;
  /** Send it to the loggers. Default true. */
  readonly logger?: boolean;
  /** Weight of this batch in the epoch's mean, above 0. Default 1. */
  readonly batchSize?: number;
  /** How the epoch's values become one: `'mean'` (the default), `'sum'`, `'min'` or `'max'`. */
  readonly reduceFx?: ReduceFx;
  /** With several loaders, add `/dataloader_idx_<n>` to the name. Default true. */
  readonly addDataloaderIdx?: boolean;
  /** Reduce it over the ranks too; without ranks it makes no difference. Default false. */
  readonly syncDist?: boolean;
}

/** Where in training a metric is logged from. */
export interface LogScope {
  readonly stage: 'train' | 'validation' | 'test';
  /** Whether this hook belongs to a batch; else to an epoch. */
  readonly isBatchHook: boolean;
  /** Appended to names when there are several loaders: `/dataloader_idx_1`. */
  readonly suffix: string;
}

/** A metric as hooks, monitors and file names see it. */
interface Visible {
  readonly scalar: Scalar;
  /** The `globalStep` whose weights it was measured on. */
  readonly loggedFor: number;
  readonly progBar: boolean;
  readonly logger: boolean;
}

/** One metric of the running epoch. A name may have two: from hooks of batches and from hooks of the epoch. */
interface Running {
  readonly name: string;
  readonly isBatchHook: boolean;
  readonly options: Required<
    Pick<LogOptions, 'onStep' | 'onEpoch' | 'progBar' | 'logger' | 'reduceFx'>
  >;
  readonly epoch: EpochReduction;
  step: Scalar | undefined;
}

type Stage = LogScope['stage'];

const REDUCTIONS: ReadonlySet<unknown> = new Set<ReduceFx>(['mean', 'sum', 'min', 'max']);

/**
 * Everything that was logged. Within a hook, logged values are staged; they count when the hook has
 * completed ({@link commit}), so a hook that throws leaves no trace. Tensors are read only when something
 * needs their value.
 */
export class MetricStore {
  readonly #engine: EngineTensors;
  readonly #visible = new Map<string, Visible>();
  readonly #running: Record<Stage, Map<string, Running>> = {
    train: new Map(),
    validation: new Map(),
    test: new Map(),
  };
  #staged: { name: string; scalar: Scalar; options: LogOptions; scope: LogScope }[] = [];

  constructor(engine: EngineTensors) {
    this.#engine = engine;
  }

  /** Stages a value. @throws MisconfigurationError for a bad name, value or `batchSize`. */
  log(name: string, value: LogValue, options: LogOptions, scope: LogScope): void {
    if (typeof name !== 'string' || name === '') {
      throw new MisconfigurationError(`log: a metric needs a name, but got ${String(name)}.`);
    }
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
    const scalar = Scalar.of(this.#engine, name, value);
    this.#staged.push({ name, scalar, options, scope });
  }

  /** The hook completed: what it logged counts from here on. */
  commit(): void {
    const staged = this.#staged;
    this.#staged = [];
    for (const { name, scalar, options, scope } of staged) {
      const suffix = options.addDataloaderIdx === false ? '' : scope.suffix;
      const running = this.#runningOf(`${name}${suffix}`, options, scope);
      if (running.options.onEpoch) running.epoch.add(scalar, options.batchSize ?? 1);
      if (running.options.onStep) {
        running.step?.release();
        running.step = scalar.share();
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
    const isTrainStep = scope.stage === 'train' && isBatchHook;
    const { reduceFx = 'mean' } = options;
    const existing = this.#running[scope.stage].get(keyOf(name, isBatchHook));
    if (existing !== undefined) {
      if (existing.options.reduceFx === reduceFx) return existing;
      throw new MisconfigurationError(
        `log('${name}'): reduceFx is '${reduceFx}', but '${existing.options.reduceFx}' was given before in this ` +
          `epoch. One metric has one reduction: use another name.`,
      );
    }
    const running: Running = {
      name,
      isBatchHook,
      options: {
        onStep: options.onStep ?? isTrainStep,
        onEpoch: options.onEpoch ?? !isTrainStep,
        progBar: options.progBar ?? false,
        logger: options.logger ?? true,
        reduceFx,
      },
      epoch: new EpochReduction(reduceFx),
      step: undefined,
    };
    this.#running[scope.stage].set(keyOf(name, isBatchHook), running);
    return running;
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
        this.#show(shown, running.step.share(), loggedFor, running);
        names.push(shown);
      }
      running.step.release();
      running.step = undefined;
    }
    return names;
  }

  /** Reduces the epoch values of a stage and makes them visible; the names that changed. */
  async publishEpoch(stage: Stage, loggedFor: number): Promise<readonly string[]> {
    const names: string[] = [];
    for (const running of this.#running[stage].values()) {
      const value = await running.epoch.take();
      running.step?.release();
      if (value === undefined) continue;
      const { name } = running;
      const forked = running.options.onStep ? [`${name}_epoch`] : [];
      for (const shown of [name, ...forked]) {
        this.#show(shown, Scalar.ofNumber(value), loggedFor, running);
        names.push(shown);
      }
    }
    this.#running[stage].clear();
    return [...new Set(names)];
  }

  #show(name: string, scalar: Scalar, loggedFor: number, { options }: Running): void {
    this.#visible.get(name)?.scalar.release();
    const { progBar, logger } = options;
    this.#visible.set(name, { scalar, loggedFor, progBar, logger });
  }

  /** Drops a stage's running sums, unreduced: a validation that starts again. */
  async reset(stage: Stage): Promise<void> {
    for (const { epoch, step } of this.#running[stage].values()) {
      await epoch.take();
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
    for (const { scalar } of this.#visible.values()) scalar.release();
    this.#visible.clear();
  }

  /** Visible metrics whose value can be had at once. */
  values(
    filter: (metric: { progBar: boolean; logger: boolean }) => boolean = () => true,
  ): Record<string, number> {
    const values: Record<string, number> = {};
    for (const [name, metric] of this.#visible) {
      const value = filter(metric) ? metric.scalar.valueNow() : undefined;
      if (value !== undefined) values[name] = value;
    }
    return values;
  }

  /** The last value of a metric, read if need be; undefined when it was never logged. */
  async value(name: string): Promise<number | undefined> {
    return await this.#visible.get(name)?.scalar.value();
  }

  /** The values of some metrics that loggers want, read if need be. */
  async loggable(names: readonly string[]): Promise<Record<string, number>> {
    const values: Record<string, number> = {};
    for (const name of names) {
      const metric = this.#visible.get(name);
      if (metric?.logger) values[name] = await metric.scalar.value();
    }
    return values;
  }

  /** Every visible metric with its value and whether it was measured on the weights of `globalStep`. */
  async readings(globalStep: number): Promise<ReadonlyMap<string, MetricReading>> {
    const readings = new Map<string, MetricReading>();
    for (const [name, { scalar, loggedFor }] of this.#visible) {
      const isFresh = loggedFor === globalStep;
      readings.set(name, { value: await scalar.value(), isFresh, loggedFor });
    }
    return readings;
  }

  /** All of it as JSON, for a checkpoint. */
  async stateDict(): Promise<JsonObject> {
    const visible: JsonValue[] = [];
    for (const [name, { scalar, loggedFor, progBar, logger }] of this.#visible) {
      visible.push([name, await scalar.value(), loggedFor, progBar, logger]);
    }
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
      this.#visible.set(name, { scalar: Scalar.ofNumber(value), loggedFor, progBar, logger });
    }
    for (const [name, stored, state, isBatchHook = true] of train) {
      const options = { ...stored, reduceFx: stored.reduceFx ?? 'mean' };
      const epoch = new EpochReduction(options.reduceFx, state);
      const running = { name, isBatchHook, options, epoch, step: undefined };
      this.#running.train.set(keyOf(name, isBatchHook), running);
    }
  }
}

interface StoredMetrics {
  readonly visible: readonly (readonly [string, number, number, boolean, boolean])[];
  readonly train: readonly (readonly [
    string,
    Omit<Running['options'], 'reduceFx'> & { readonly reduceFx?: ReduceFx },
    { readonly sum: number; readonly weight: number },
    boolean?,
  ])[];
}

function keyOf(name: string, isBatchHook: boolean): string {
  return `${isBatchHook ? 'batch' : 'epoch'} ${name}`;
}

/** @throws CheckpointFileError naming the metric that is not in the form of {@link StoredMetrics}. */
function storedMetrics(state: JsonValue): StoredMetrics {
  const { visible, train } = (state ?? {}) as JsonObject;
  const check = (list: JsonValue | undefined, isValid: (entry: JsonValue) => boolean): void => {
    const wrong = Array.isArray(list) ? list.findIndex((entry) => !isValid(entry)) : -2;
    if (wrong === -1) return;
    const what = wrong === -2 ? list : (list as readonly JsonValue[])[wrong];
    throw new CheckpointFileError(`The stored metrics hold ${JSON.stringify(what)}.`);
  };
  check(visible, (entry) => isTuple(entry, ['string', 'number', 'number', 'boolean', 'boolean']));
  check(train, (entry) => {
    if (!isTuple(entry, ['string', 'object', 'object'])) return false;
    const [, options, epoch, isBatchHook = true] =
      entry as unknown as StoredMetrics['train'][number];
    const { onStep, onEpoch, progBar, logger, reduceFx = 'mean' } = options ?? {};
    const flags: readonly unknown[] = [onStep, onEpoch, progBar, logger, isBatchHook];
    const isReduction =
      REDUCTIONS.has(reduceFx) && flags.every((flag) => typeof flag === 'boolean');
    return isReduction && typeof epoch?.sum === 'number' && typeof epoch.weight === 'number';
  });
  return state as unknown as StoredMetrics;
}

function isTuple(value: JsonValue, types: readonly string[]): boolean {
  return Array.isArray(value) && types.every((type, i) => typeof value[i] === type);
}
