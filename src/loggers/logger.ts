import type { JsonObject, JsonValue } from '../format/json.ts';
import type { SaveReport } from '../saving/save-job.ts';

/** A callback whose checkpoint became durable, as a logger sees it. */
export interface CheckpointSource {
  readonly bestModelPath: string;
  readonly lastModelPath: string;
  /** What the save has cost. */
  readonly lastSave?: SaveReport | undefined;
}

/**
 * Where metrics go. All methods of one logger are called one after the other, never at once, but for
 * `afterSaveCheckpoint`. The order is: `setup` or `resume`; then `logHyperparams`; then any number of `logMetrics`, and
 * before each checkpoint is captured `save` and then `position`; then `finalize`.
 *
 * Of several ranks only rank 0 logs, so in these methods the ranks cannot work together: `flush` and `fileExists` are of
 * rank 0 alone there, `saveCheckpoint` throws a MisconfigurationError, and what `trainer.strategy` does together must not
 * be called.
 */
export interface Logger {
  /** Folder that holds all runs. Absolute after `setup` or `resume`. */
  readonly saveDir: string;
  /** Name of the experiment: a folder below `saveDir`; may be empty and may hold `/`. */
  readonly name: string;
  /**
   * The run: a number `n` is spelt `version_n` in folders, a string stands as it is. A logger that numbers
   * its runs may know it only after `setup` or `resume`; undefined before.
   */
  readonly version: number | string | undefined;

  /**
   * Begins a new run: makes folders, finds a free version. Does nothing when the run has begun.
   *
   * @param begun the loggers of the same Trainer whose run has begun: one that numbers its runs takes the
   * version of another in the same `saveDir` and `name`, so that both write to one folder.
   */
  setup?(begun?: readonly Logger[]): Promise<void>;
  /**
   * Instead of `setup`: goes on with the run `version` where {@link position} was read, so that rows which
   * were logged later and will be logged again stand there once.
   *
   * @param position what `position` returned for the checkpoint resumed from; null when it is not known:
   * then every row stays.
   */
  resume?(version: number | string, position: JsonValue): Promise<void>;
  /** What {@link resume} needs to know of the rows logged so far. Part of every full checkpoint. */
  position?(): JsonValue;
  /** The versions of this experiment that exist, oldest first. Only of loggers that number their runs. */
  versions?(): Promise<readonly number[]>;

  /**
   * One row of metrics at an optimizer step; NaN and ±Infinity are values like any other. One step may
   * have several rows, of its training and of its validation.
   */
  logMetrics(metrics: Readonly<Record<string, number>>, step: number): void | Promise<void>;
  /** The module's hyper-parameters, once at the start of `fit`. */
  logHyperparams?(hyperParameters: JsonObject): void | Promise<void>;
  /**
   * A checkpoint of `callback` has become durable. Called behind training, one save after the other, while
   * other methods may run; neither steps nor saves wait for it, only `finalize` does. It may wait for saves
   * (`flush`). `callback` is what it is by now: later saves may be durable already. What it throws ends `fit`
   * at the next hook that saves, or its end.
   */
  afterSaveCheckpoint?(callback: CheckpointSource): void | Promise<void>;
  /** Makes every row logged so far durable: it survives `kill -9` and a power cut. */
  save?(): void | Promise<void>;
  /** The run is over; `failed` when `fit` threw. */
  finalize?(status: 'success' | 'failed'): void | Promise<void>;
}
