import { isBetter, type Mode, worstValue } from '../checkpoint/monitor.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../option-check.ts';
import type { Trainer } from '../trainer/trainer.ts';
import type { Callback } from './callback.ts';

/** What `new EarlyStopping(options)` takes. Names and defaults are Lightning's. */
export interface EarlyStoppingOptions {
  /** Name of the logged metric to watch. */
  readonly monitor: string;
  /** A change by no more than this is not better; at least 0. Default 0. */
  readonly minDelta?: number;
  /** Stop after so many checks in a row without anything better, an integer of at least 0. Default 3. */
  readonly patience?: number;
  /** Say why training stops, and when the metric has improved. Default false. */
  readonly verbose?: boolean;
  /** Default `'min'`. */
  readonly mode?: Mode;
  /** Throw when the metric is not there at a check (the default), or warn once and wait. */
  readonly strict?: boolean;
  /** Stop when the metric is NaN or infinite. Default true. */
  readonly checkFinite?: boolean;
  /** Stop as soon as the metric is better than this. Default: never. */
  readonly stoppingThreshold?: number;
  /** Stop as soon as the metric is worse than this. Default: never. */
  readonly divergenceThreshold?: number;
  /**
   * Check at the end of training epochs, else of validations. Default: at the end of epochs if there is one
   * validation in each, or none.
   */
  readonly checkOnTrainEpochEnd?: boolean;
}

const NAMES: OptionNames<EarlyStoppingOptions> = {
  monitor: true,
  minDelta: true,
  patience: true,
  verbose: true,
  mode: true,
  strict: true,
  checkFinite: true,
  stoppingThreshold: true,
  divergenceThreshold: true,
  checkOnTrainEpochEnd: true,
};

type Rules = Required<
  Pick<EarlyStoppingOptions, 'minDelta' | 'patience' | 'mode' | 'checkFinite'>
> &
  Pick<EarlyStoppingOptions, 'stoppingThreshold' | 'divergenceThreshold'>;

interface Verdict {
  readonly bestScore: number;
  readonly waitCount: number;
  /** Why training shall stop. */
  readonly stop: string | undefined;
}

/**
 * Ends training when a metric no longer gets better; never in a `fastDevRun`. A value is judged once, at the first
 * check after it was measured; what better means is the rule of checkpoints. Its state is part of every checkpoint, that of the
 * same hook included, so that a run which has stopped stays stopped when it is resumed.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) from the constructor for every option that cannot be, and
 * from training when `strict` and the metric is missing.
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.callbacks.EarlyStopping`.
 */
export class EarlyStopping implements Callback {
  readonly isMonitor = true;
  readonly monitor: string;
  /** Checks in a row without anything better. */
  waitCount = 0;
  /** The epoch in which it stopped training; 0 as long as it has not. */
  stoppedEpoch = 0;
  /** The best value so far; the worst possible one before the first. */
  bestScore: number;
  readonly #rules: Rules;
  readonly #verbose: boolean;
  readonly #strict: boolean;
  readonly #checkOnTrainEpochEnd: boolean | undefined;
  /** The `globalStep` of the value judged last. */
  #judgedFor = -1;

  constructor(options: EarlyStoppingOptions) {
    checkOptionNames('EarlyStopping', options, NAMES);
    const { monitor, minDelta = 0, patience = 3, mode = 'min', checkFinite = true } = options;
    const { stoppingThreshold, divergenceThreshold } = options;
    if (typeof monitor !== 'string' || monitor === '') {
      refuse('monitor', monitor, 'the name of a metric');
    }
    if (mode !== 'min' && mode !== 'max') refuse('mode', mode, "'min' or 'max'");
    if (!(minDelta >= 0 && Number.isFinite(minDelta))) {
      refuse('minDelta', minDelta, 'a finite number of at least 0');
    }
    if (!Number.isSafeInteger(patience) || patience < 0) {
      refuse('patience', patience, 'an integer of at least 0');
    }
    for (const [option, value] of Object.entries({ stoppingThreshold, divergenceThreshold })) {
      if (value !== undefined && !Number.isFinite(value)) refuse(option, value, 'a finite number');
    }
    this.monitor = monitor;
    this.bestScore = worstValue(mode);
    this.#rules = {
      minDelta,
      patience,
      mode,
      checkFinite,
      ...(stoppingThreshold === undefined ? {} : { stoppingThreshold }),
      ...(divergenceThreshold === undefined ? {} : { divergenceThreshold }),
    };
    this.#verbose = options.verbose ?? false;
    this.#strict = options.strict ?? true;
    this.#checkOnTrainEpochEnd = options.checkOnTrainEpochEnd;
  }

  get mode(): Mode {
    return this.#rules.mode;
  }
  get patience(): number {
    return this.#rules.patience;
  }
  get stateKey(): string {
    return `EarlyStopping${JSON.stringify({ monitor: this.monitor, mode: this.mode })}`;
  }

  async onTrainEpochEnd(trainer: Trainer): Promise<void> {
    if (this.#checksEpochs(trainer)) await this.#check(trainer);
  }

  async onValidationEnd(trainer: Trainer): Promise<void> {
    if (!this.#checksEpochs(trainer)) await this.#check(trainer);
  }

  #checksEpochs({ validationSchedule }: Trainer): boolean {
    const { checkValEveryNEpoch, isOncePerEpoch, hasValidation } = validationSchedule;
    const isOncePerTrainEpoch = isOncePerEpoch && checkValEveryNEpoch === 1;
    return this.#checkOnTrainEpochEnd ?? (!hasValidation || isOncePerTrainEpoch);
  }

  async #check(trainer: Trainer): Promise<void> {
    if (trainer.settings.fastDevRun) return;
    const readings = await trainer.checkpointing.readings();
    const reading = readings.get(this.monitor);
    if (reading === undefined) {
      const logged = [...readings.keys()].map((name) => `'${name}'`).join(', ');
      const { whyUnvalidated } = trainer.validationSchedule;
      const why = whyUnvalidated === undefined ? '' : `Nothing is validated: ${whyUnvalidated} `;
      const message =
        `EarlyStopping monitors '${this.monitor}', which has not been logged; there is ` +
        `${logged || 'nothing yet'}. ${why}Log it, or give strict: false to wait for it.`;
      if (this.#strict) throw new MisconfigurationError(message);
      trainer.warnOnce(message);
      return;
    }
    const { loggedFor = trainer.globalStep } = reading;
    if (loggedFor <= this.#judgedFor) return;
    this.#judgedFor = loggedFor;
    const { bestScore: before } = this;
    const { bestScore, waitCount, stop } = judge(this.#rules, this, reading.value);
    this.bestScore = bestScore;
    this.waitCount = waitCount;
    if (stop !== undefined) {
      this.stoppedEpoch = trainer.currentEpoch;
      trainer.shouldStop = true;
    }
    if (!this.#verbose) return;
    const from = Number.isFinite(before) ? ` from ${short(before)}` : '';
    const improved = `improved${from} to ${short(bestScore)}`;
    const why = stop ?? (waitCount === 0 ? improved : undefined);
    if (why !== undefined) trainer.info(`EarlyStopping: '${this.monitor}' ${why}`);
  }

  stateDict(): JsonValue {
    const { waitCount, stoppedEpoch, bestScore } = this;
    return { waitCount, stoppedEpoch, bestScore, judgedFor: this.#judgedFor };
  }

  /** `patience` and the rest stay as constructed: a resume may change them. */
  loadStateDict(state: JsonValue): void {
    const { waitCount, stoppedEpoch, bestScore, judgedFor } = (state ?? {}) as Record<
      string,
      unknown
    >;
    if (
      typeof waitCount !== 'number' ||
      typeof stoppedEpoch !== 'number' ||
      typeof bestScore !== 'number'
    ) {
      throw new MisconfigurationError(
        `EarlyStopping: ${JSON.stringify(state)} is not the state of such a callback.`,
        { details: { state } },
      );
    }
    Object.assign(this, { waitCount, stoppedEpoch, bestScore });
    this.#judgedFor = typeof judgedFor === 'number' ? judgedFor : -1;
  }
}

/** One value against the best so far. */
function judge(
  rules: Rules,
  { bestScore, waitCount }: { readonly bestScore: number; readonly waitCount: number },
  value: number,
): Verdict {
  const { mode, minDelta, patience, checkFinite, stoppingThreshold, divergenceThreshold } = rules;
  if (checkFinite && !Number.isFinite(value)) {
    return { bestScore, waitCount, stop: `is ${value}: training stops` };
  }
  if (stoppingThreshold !== undefined && isBetter(mode, value, stoppingThreshold)) {
    return {
      bestScore,
      waitCount,
      stop: `reached ${short(value)}, past stoppingThreshold: training stops`,
    };
  }
  if (divergenceThreshold !== undefined && isBetter(mode, divergenceThreshold, value)) {
    return {
      bestScore,
      waitCount,
      stop: `is ${short(value)}, past divergenceThreshold: training stops`,
    };
  }
  const credited = mode === 'min' ? value + minDelta : value - minDelta;
  if (isBetter(mode, credited, bestScore)) {
    return { bestScore: value, waitCount: 0, stop: undefined };
  }
  const waited = waitCount + 1;
  const stop = `has not improved on ${short(bestScore)} in ${waited} checks: training stops`;
  return { bestScore, waitCount: waited, stop: waited >= patience ? stop : undefined };
}

/** For people: six digits. */
function short(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function refuse(option: string, value: unknown, allowed: string): never {
  refuseOption('EarlyStopping', option, value, allowed);
}
