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
 * resumes with it, so what stood before it is kept: the place in the data, and all tensors that it changes before the
 * optimizer's step (pending gradients, random keys, and weights that the forward pass itself changes, such as
 * BatchNorm's moving statistics).
 */
export class TrainingBatch {
  readonly #context: FitContext;
  #feed: BatchFeed | undefined;
  /** The step on it is done, and its end hooks are to come. */
  #done: FedBatch | undefined;
  /** Owned; undefined: none is under way. */
  #before: readonly StateEntry[] | undefined;
  /** Weights that the optimizer alone changes. Until a first batch has told which they are, all are kept. */
  #ofOptimizer: ReadonlySet<string> | undefined;

  constructor(context: FitContext) {
    this.#context = context;
  }

  /** Where the training data stands; while none is open, after so many batches of the epoch. */
  position(servedBatches: number): FeedPosition {
    return this.#feed?.position ?? positionOf(this.#context.data.train, servedBatches);
  }

  /** The module's tensors as they were before the batch that is under way; undefined: none is. */
  get stateBefore(): readonly StateEntry[] | undefined {
    const before = this.#before;
    if (before === undefined) return undefined;
    const kept = new Map(before.map((entry) => [keyOf(entry), entry]));
    const now = [...this.#context.module.state()].filter((entry) => !isGradient(entry));
    return [...now.map((entry) => kept.get(keyOf(entry)) ?? entry), ...before.filter(isGradient)];
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
  begin({ weight }: FedBatch): void {
    const { module, metrics, ranks } = this.#context;
    metrics.share = batchShare(weight, ranks.count);
    const before: StateEntry[] = [];
    for (const entry of module.state()) {
      const { group, name, handle } = entry;
      if (group === 'optimizer' || (group === 'model' && this.#ofOptimizer?.has(name))) continue;
      before.push({ ...entry, handle: module.retain(handle) });
    }
    this.#before = before;
  }

  /** Adds its gradients to the pending ones, those of all ranks. @returns the loss. */
  async step({ batch, weight }: FedBatch, batchIdx: number, tookStep: boolean): Promise<unknown> {
    const { module, hooks, settings, ranks, gradients } = this.#context;
    const share = batchShare(weight, ranks.count);
    const scale = share.weight / share.copies / settings.accumulateGradBatches;
    const loss = await hooks.guard('trainingStep', () => module.trainStep(batch, batchIdx, scale));
    this.#ofOptimizer ??= this.#withGradientAlone();
    if (gradients !== undefined) {
      // Of a stand-in nothing is added, whatever its gradient: 0 × NaN is NaN.
      const counted = share.weight === 0 ? this.#before?.filter(isGradient) : undefined;
      await hooks.guard('adding up gradients', () => gradients.add(tookStep, counted));
    }
    return loss;
  }

  /**
   * After a forward pass: the weights that have a gradient, and that the pass itself has left alone. Undefined when
   * it has made some.
   */
  #withGradientAlone(): ReadonlySet<string> | undefined {
    const { module } = this.#context;
    const entries = [...module.state()];
    const moved = new Set(entries.filter(isGradient).map(({ name }) => name));
    const before = new Map(this.#before?.map((entry) => [keyOf(entry), entry.handle]));
    const weights = entries.filter(({ group }) => group === 'model');
    if (!weights.every((weight) => before.has(keyOf(weight)))) return undefined;
    const alone = weights.filter((weight) => {
      const isLeft = module.isUnchanged?.(weight.handle, before.get(keyOf(weight))) === true;
      return isLeft && moved.has(weight.name);
    });
    return new Set(alone.map(({ name }) => name));
  }

  /** The step is done, or the batch skipped: a checkpoint takes the gradients as they are. */
  leave(done?: FedBatch): void {
    for (const { handle } of this.#before ?? []) this.#context.module.release(handle);
    this.#before = undefined;
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

function keyOf({ group, name }: StateEntry): string {
  return `${group} ${name}`;
}

function isGradient({ group }: StateEntry): boolean {
  return group === 'gradient';
}
