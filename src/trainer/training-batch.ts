import type { StateEntry } from '../engines/engine.ts';
import { agreeOnBatch } from './batch-agreement.ts';
import {
  type BatchFeed,
  type FedBatch,
  type FeedPosition,
  feedAfter,
  positionOf,
} from './batch-feed.ts';
import type { FitContext } from './fit-context.ts';
import { batchShare } from './share.ts';

/**
 * The batch that training is at, from its fetch until its end hooks are over. A checkpoint saved while it is under way
 * resumes with it, so what stood before it is kept: the place in the data, and the pending gradients.
 */
export class TrainingBatch {
  readonly #context: FitContext;
  #feed: BatchFeed | undefined;
  /** The step on it is done, and its end hooks are to come. */
  #done: FedBatch | undefined;
  #gradientsBefore: readonly StateEntry[] | undefined;

  constructor(context: FitContext) {
    this.#context = context;
  }

  /** Where the training data stands; while none is open, after so many batches of the epoch. */
  position(servedBatches: number): FeedPosition {
    return this.#feed?.position ?? positionOf(this.#context.data.train, servedBatches);
  }

  /** The gradients that were pending before the batch that is under way; undefined: none is. */
  get gradientsBefore(): readonly StateEntry[] | undefined {
    return this.#gradientsBefore;
  }

  /** The next batch, the same one on every rank; undefined at the end of the epoch's data. */
  async fetch(batchIdx: number): Promise<FedBatch | undefined> {
    const { hooks, data, ranks } = this.#context;
    const fed = await hooks.guard('the training data', async () => {
      this.#feed ??= await feedAfter(data.train, data.trainBatches, batchIdx);
      return await this.#feed.next();
    });
    await agreeOnBatch(ranks, fed, 'training', batchIdx);
    return fed;
  }

  /** A batch is under way: what its hooks log is of this rank's share. */
  begin({ weight }: FedBatch, batchIdx: number): void {
    const { module, metrics, ranks, settings } = this.#context;
    metrics.share = batchShare(weight, ranks.count);
    const isWindowBegun = batchIdx % settings.accumulateGradBatches !== 0;
    const pending = isWindowBegun ? [...module.state()].filter(isGradient) : [];
    this.#gradientsBefore = pending.map((entry) => ({
      ...entry,
      handle: module.retain(entry.handle),
    }));
  }

  /** Adds its gradients to the pending ones, those of all ranks. @returns the loss. */
  async step({ batch, weight }: FedBatch, batchIdx: number, tookStep: boolean): Promise<unknown> {
    const { module, hooks, settings, ranks, gradients } = this.#context;
    const share = batchShare(weight, ranks.count);
    const scale = share.weight / share.copies / settings.accumulateGradBatches;
    const loss = await hooks.guard('trainingStep', () => module.trainStep(batch, batchIdx, scale));
    if (gradients !== undefined) {
      // Of a stand-in nothing is added, whatever its gradient: 0 × NaN is NaN.
      const counted = share.weight === 0 ? this.#gradientsBefore : undefined;
      await hooks.guard('adding up gradients', () => gradients.add(tookStep, counted));
    }
    return loss;
  }

  /** The step is done, or the batch skipped: a checkpoint takes the gradients as they are. */
  leave(done?: FedBatch): void {
    for (const { handle } of this.#gradientsBefore ?? []) this.#context.module.release(handle);
    this.#gradientsBefore = undefined;
    this.#done = done;
  }

  /** The batch of which the step is done, fetched again after a resume; undefined when the data has ended. */
  async again(batchIdx: number): Promise<FedBatch | undefined> {
    const { metrics, ranks } = this.#context;
    const fed = this.#done ?? (await this.fetch(batchIdx));
    metrics.share = batchShare(fed?.weight, ranks.count);
    return fed;
  }

  /** Its end hooks are over: the place in the data is behind it. */
  complete(): void {
    this.#feed?.complete();
    this.#done = undefined;
  }

  /** The epoch's data is done with. */
  async close(): Promise<void> {
    this.leave();
    await this.#feed?.close();
    this.#feed = undefined;
  }
}

function isGradient({ group }: StateEntry): boolean {
  return group === 'gradient';
}
