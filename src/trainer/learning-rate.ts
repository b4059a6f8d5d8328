import type { Engine } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import type { LRScheduler, LRSchedulerConfig } from '../schedulers/scheduler.ts';

/** Where a schedule may move on. */
export interface ScheduleMoment {
  readonly interval: 'step' | 'epoch';
  /** Optimizer steps, or epochs, completed so far. */
  readonly count: number;
  /** Schedules that look at a metric, those that do not, or both. */
  readonly monitored: boolean | 'both';
}

/** What the schedule is called, and where it moves on. */
export interface LearningRateSchedule {
  readonly name: string;
  readonly interval: 'step' | 'epoch';
}

/** A rate that stays. */
export const UNSCHEDULED: LearningRateSchedule = { name: 'lr', interval: 'epoch' };

type Config = LearningRateSchedule &
  Required<Pick<LRSchedulerConfig, 'scheduler' | 'frequency' | 'strict'>> &
  Pick<LRSchedulerConfig, 'monitor'>;

/** The schedule of an optimizer's learning rate, if it has one: moved on by the fit loop. */
export class LearningRate {
  readonly #engine: Engine;
  readonly #config: Config | undefined;
  readonly #warn: (message: string) => void;

  /**
   * @param configured what `configureOptimizers` returned.
   * @throws MisconfigurationError for a bad `lrScheduler`, naming what is wrong.
   */
  constructor(engine: Engine, configured: unknown, warn: (message: string) => void) {
    this.#engine = engine;
    this.#config = configOf(configured);
    this.#warn = warn;
  }

  get schedule(): LearningRateSchedule {
    const { name, interval } = { ...UNSCHEDULED, ...this.#config };
    return { name, interval };
  }

  /** Sets the rate that training begins with. */
  start(): void {
    this.#set(this.#config?.scheduler.start?.(this.#engine.learningRate));
  }

  /** Moves on if it is due; `metric` gives the last value of one that was logged. */
  async step(
    { interval, count, monitored }: ScheduleMoment,
    metric: (name: string) => Promise<number | undefined>,
  ): Promise<void> {
    const config = this.#config;
    if (config === undefined || config.interval !== interval || count % config.frequency !== 0) {
      return;
    }
    const { scheduler, monitor, strict } = config;
    if (monitored !== 'both' && monitored !== (monitor !== undefined)) return;
    if (monitor === undefined) {
      this.#set(scheduler.step(undefined, this.#engine.learningRate));
      return;
    }
    const value = await metric(monitor);
    if (value !== undefined) {
      this.#set(scheduler.step(value, this.#engine.learningRate));
      return;
    }
    const message =
      `The learning-rate schedule monitors '${monitor}', which has not been logged yet. Log it in every ` +
      `${interval}, raise 'frequency', or give strict: false to wait for it.`;
    if (strict) throw new MisconfigurationError(message, { details: { monitor } });
    this.#warn(message);
  }

  /** What a checkpoint stores as `lrSchedulers`. */
  stateDict(): readonly JsonValue[] {
    if (this.#config === undefined) return [];
    const { learningRate = null } = this.#engine;
    return [{ learningRate, state: this.#config.scheduler.stateDict() }];
  }

  /** A checkpoint without a schedule leaves this one at its start. */
  loadStateDict(stored: JsonValue | undefined): void {
    const [first] = (Array.isArray(stored) ? stored : []) as readonly JsonValue[];
    if (this.#config === undefined || first === undefined) return;
    const { learningRate, state } = (first ?? {}) as JsonObject;
    this.#config.scheduler.loadStateDict(state ?? null);
    if (typeof learningRate === 'number') this.#set(learningRate);
  }

  #set(rate: unknown): void {
    if (typeof rate === 'number') this.#engine.learningRate = rate;
  }
}

const CONFIG_NAMES: OptionNames<LRSchedulerConfig> = {
  scheduler: true,
  interval: true,
  frequency: true,
  monitor: true,
  strict: true,
  name: true,
};

function configOf(configured: unknown): Config | undefined {
  const given = (configured as { lrScheduler?: unknown } | null | undefined)?.lrScheduler;
  if (given === undefined || given === null) return undefined;
  const config: LRSchedulerConfig = isScheduler(given)
    ? { scheduler: given }
    : (given as LRSchedulerConfig);
  checkOptionNames('configureOptimizers: lrScheduler', config, CONFIG_NAMES);
  const { scheduler, interval = 'epoch', frequency = 1, strict = true } = config;
  const { monitor, name = UNSCHEDULED.name } = config;
  if (!isScheduler(scheduler)) {
    refuse('scheduler', scheduler, 'an object with step, stateDict and loadStateDict');
  }
  if (interval !== 'step' && interval !== 'epoch') {
    refuse('interval', interval, "'step' or 'epoch'");
  }
  if (!Number.isSafeInteger(frequency) || frequency < 1) {
    refuse('frequency', frequency, 'an integer of at least 1');
  }
  if (monitor !== undefined && (typeof monitor !== 'string' || monitor === '')) {
    refuse('monitor', monitor, 'the name of a metric');
  }
  if (scheduler.needsMetric === true && monitor === undefined) {
    refuse('monitor', monitor, 'the name of a metric, which this scheduler needs');
  }
  return {
    scheduler,
    interval,
    frequency,
    strict,
    name,
    ...(monitor === undefined ? {} : { monitor }),
  };
}

function isScheduler(value: unknown): value is LRScheduler {
  return (['step', 'stateDict', 'loadStateDict'] as const).every(
    (method) => typeof (value as Partial<LRScheduler> | null | undefined)?.[method] === 'function',
  );
}

function refuse(option: string, value: unknown, allowed: string): never {
  refuseOption('configureOptimizers', `lrScheduler.${option}`, value, allowed);
}
