import type { Checkpointing, CheckpointOwner } from './checkpointing.ts';
import { type FitLoop, Interrupted } from './fit-loop.ts';
import type { Hooks } from './hooks.ts';
import { interruption } from './interruption.ts';
import type { Trainer } from './trainer.ts';

/**
 * How a `fit` ends that has failed, or that was asked to stop: callbacks are told and may save, and what was saved
 * becomes durable. An error on the way does not keep the rest from being done.
 */
export class FitFailure {
  readonly #trainer: Trainer;
  readonly #hooks: Hooks;
  readonly #checkpointing: Checkpointing;
  readonly #owners: readonly CheckpointOwner[];
  /** Whether the callbacks know of the error. */
  #isTold = false;
  /** What has failed on this rank alone while all were ending with the same error. */
  #own: unknown;

  constructor(
    trainer: Trainer,
    hooks: Hooks,
    checkpointing: Checkpointing,
    owners: readonly CheckpointOwner[],
  ) {
    this.#trainer = trainer;
    this.#hooks = hooks;
    this.#checkpointing = checkpointing;
    this.#owners = owners;
  }

  /** Training has ended with an error. @returns that of `fit`. */
  async inTraining(error: unknown, loop: FitLoop): Promise<unknown> {
    loop.rewind();
    const { ranks, globalStep } = this.#trainer;
    const checkpointing = this.#checkpointing;
    ranks.part(error);
    const isInterrupted = error instanceof Interrupted;
    const hook = isInterrupted ? 'onInterrupt' : 'onException';
    // An earlier save whose failure nobody was told of does not prevent this one.
    await this.#try(() => checkpointing.flush());
    let failure = await this.#try(async () => {
      if (!ranks.areMany && !ranks.isZero) return;
      await checkpointing.round(() => this.#hooks.runCheckpoints(hook, error));
    });
    this.#isTold = true;
    if (!isInterrupted) await this.#try(() => this.#hooks.run('onException', error));
    failure ??= await this.#try(() => checkpointing.finish());
    if (!isInterrupted) return error;
    const { hasFullSave: isSaved, maySave } = checkpointing;
    const owners = this.#owners;
    return ranks.share(interruption({ isSaved, failure, globalStep, maySave, owners }));
  }

  /** All of `fit` ends with an error. @returns what it throws. */
  async ofFit(error: unknown): Promise<unknown> {
    if (!this.#isTold && !(error instanceof DOMException)) {
      this.#trainer.ranks.part(error);
      await this.#try(() => this.#hooks.run('onException', error));
    }
    if (this.#own === undefined) return error;
    return new AggregateError(
      [error, this.#own],
      'While fit was ending with an error on every rank, another one happened on this rank alone.',
    );
  }

  /** Warns of a further error, and returns it. */
  async #try(work: () => Promise<unknown>): Promise<unknown> {
    try {
      await work();
      return undefined;
    } catch (second) {
      if (this.#trainer.ranks.part(second)) this.#own = second;
      const why = second instanceof Error ? second.message : String(second);
      this.#trainer.warnOnce(`While fit was ending with an error, another one happened: ${why}`);
      return second;
    }
  }
}
