import type { FitContext } from './fit-context.ts';
import type { Progress } from './progress.ts';

/** When training ends: at its limits, or because one rank wants all to end. */
export class Stopping {
  readonly #context: Pick<FitContext, 'ranks' | 'signal' | 'shouldStop' | 'stop' | 'settings'>;
  /** Training time of earlier runs of this training. */
  readonly #elapsedBeforeMs: number;
  readonly #startedMs = performance.now();
  /** What the ranks agreed on last; undefined in one process. */
  #agreed: { readonly stops: boolean; readonly isAborted: boolean } | undefined;

  constructor(context: FitContext, elapsedBeforeMs: number) {
    this.#context = context;
    this.#elapsedBeforeMs = elapsedBeforeMs;
  }

  /** Training time so far, in milliseconds, the runs resumed from included. */
  get elapsedMs(): number {
    return this.#elapsedBeforeMs + performance.now() - this.#startedMs;
  }

  /** Whether the signal has asked for the run to be saved and ended. */
  get isInterrupted(): boolean {
    return this.#agreed?.isAborted ?? this.#context.signal?.aborted ?? false;
  }

  /** Whether training was asked to stop, or its time is up, and it may stop here. */
  isDue({ epoch, globalStep }: Progress): boolean {
    const { minEpochs, minSteps } = this.#context.settings;
    const stops = this.#context.shouldStop() || this.#isTimeUp;
    return (this.#agreed?.stops ?? stops) && epoch >= minEpochs && globalStep >= minSteps;
  }

  /** Whether no further epoch begins. */
  isLimitReached(progress: Progress): boolean {
    const { maxEpochs, maxSteps } = this.#context.settings;
    const { epoch, globalStep } = progress;
    return epoch >= maxEpochs || globalStep >= maxSteps || this.isDue(progress);
  }

  /** Whether the epoch that has begun goes no further. */
  closesEpoch(progress: Progress): boolean {
    const { batchesInEpoch, globalStep } = progress;
    const isLast = globalStep >= this.#context.settings.maxSteps || this.isDue(progress);
    return batchesInEpoch > 0 && isLast;
  }

  /** What one rank wants all do: it may have been told by a signal, a clock or a callback of its own. */
  async agree(): Promise<void> {
    const { ranks, signal, shouldStop, stop } = this.#context;
    if (!ranks.areMany) return;
    const wants = [shouldStop(), signal?.aborted === true, this.#isTimeUp];
    const any = await ranks.reduce(wants.map(Number), 'max');
    const [isStopped = false, isAborted = false, isTimeUp = false] = any.map(Boolean);
    if (isStopped) stop();
    this.#agreed = { stops: isStopped || isTimeUp, isAborted };
  }

  get #isTimeUp(): boolean {
    return this.elapsedMs >= this.#context.settings.maxTimeMs;
  }
}
