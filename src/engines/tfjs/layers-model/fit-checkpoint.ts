import { Callback, type LayersModel } from '@tensorflow/tfjs-layers';
import { type FormatNameOptions, ModelCheckpoint } from '../../../callbacks/model-checkpoint.ts';
import {
  MODEL_CHECKPOINT_NAMES,
  type ModelCheckpointOptions,
} from '../../../checkpoint/options.ts';
import type { JsonObject } from '../../../format/json.ts';
import { checkOptionNames, type OptionNames } from '../../../option-check.ts';
import { FOREIGN_RUN_NAMES, type ForeignRunOptions } from '../../../trainer/foreign-run.ts';
import { type FitMember, type FitParams, FitSession } from './fit-session.ts';

/** What {@link modelCheckpoint} takes: the options of `ModelCheckpoint`, where to save, and where messages go. */
export type FitCheckpointOptions = ModelCheckpointOptions & ForeignRunOptions;

const NAMES: OptionNames<FitCheckpointOptions> = {
  ...MODEL_CHECKPOINT_NAMES,
  ...FOREIGN_RUN_NAMES,
};

/** A callback for `model.fit` and `fitDataset`; made by {@link modelCheckpoint}. */
export class FitCheckpoint extends Callback implements FitMember {
  /** The callback that decides, as the Trainer would drive it. */
  readonly checkpoint: ModelCheckpoint;
  readonly options: ForeignRunOptions;
  #session: FitSession | undefined;

  constructor(given: FitCheckpointOptions) {
    super();
    checkOptionNames('modelCheckpoint', given, NAMES);
    const { storage, console, ...options } = given;
    this.checkpoint = new ModelCheckpoint(options);
    this.options = {
      ...(storage === undefined ? {} : { storage }),
      ...(console === undefined ? {} : { console }),
    };
  }

  // What ModelCheckpoint tells ---------------------------------------------------------------------------

  get bestModelPath(): string {
    return this.checkpoint.bestModelPath;
  }
  get bestModelScore(): number | undefined {
    return this.checkpoint.bestModelScore;
  }
  get bestKModels(): ReadonlyMap<string, number> {
    return this.checkpoint.bestKModels;
  }
  get kthBestModelPath(): string {
    return this.checkpoint.kthBestModelPath;
  }
  get kthValue(): number {
    return this.checkpoint.kthValue;
  }
  get lastModelPath(): string {
    return this.checkpoint.lastModelPath;
  }
  get currentScore(): number | undefined {
    return this.checkpoint.currentScore;
  }
  get dirpath(): string {
    return this.checkpoint.dirpath;
  }
  get filename(): string | undefined {
    return this.checkpoint.filename;
  }
  get stateKey(): string {
    return this.checkpoint.stateKey;
  }
  get folderDepth(): number {
    return this.checkpoint.folderDepth;
  }
  get FILE_EXTENSION(): string {
    return this.checkpoint.FILE_EXTENSION;
  }
  formatCheckpointName(
    metrics: Readonly<Record<string, number>>,
    options: FormatNameOptions = {},
  ): string {
    return this.checkpoint.formatCheckpointName(metrics, options);
  }
  async toYaml(path?: string): Promise<void> {
    await this.checkpoint.toYaml(path);
  }
  async flush(): Promise<void> {
    await this.checkpoint.flush();
  }

  // What tfjs calls ------------------------------------------------------------------------------------

  override setModel(model: LayersModel): void {
    super.setModel(model);
    this.#session = FitSession.join(model, this, this.params as FitParams);
  }
  override async onTrainBegin(): Promise<void> {
    await this.#session?.trainBegin(this);
  }
  override async onEpochBegin(epoch: number): Promise<void> {
    this.#session?.epochBegin(this, epoch);
  }
  override async onBatchEnd(batch: number, logs?: unknown): Promise<void> {
    await this.#session?.batchEnd(this, batch, (logs ?? {}) as JsonObject);
  }
  override async onEpochEnd(_epoch: number, logs?: unknown): Promise<void> {
    await this.#session?.epochEnd(this, (logs ?? {}) as JsonObject);
  }
  override async onTrainEnd(): Promise<void> {
    await this.#session?.trainEnd(this);
  }
}

/**
 * Checkpoints for plain `model.fit`: the options, rules, files and attributes of `ModelCheckpoint`.
 *
 * ```ts
 * const checkpoint = modelCheckpoint({ monitor: 'val_loss', saveTopK: 3, saveLast: true });
 * await model.fit(x, y, { epochs: 10, validationData, callbacks: checkpoint });
 * ```
 *
 * Metrics are those of `fit`'s logs: `loss`, `acc`, `val_loss`, `val_acc`. Files go to `checkpoints` when there
 * is no `dirpath`. `fit` resolves when everything is durable. See {@link restore} for how to go on.
 *
 * In an array of callbacks all must be tfjs's own kind: tfjs takes no mixture with plain objects.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for every option that cannot be.
 */
export function modelCheckpoint(options: FitCheckpointOptions = {}): FitCheckpoint {
  return new FitCheckpoint(options);
}
