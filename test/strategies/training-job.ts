import type { JsonValue } from '../../src/format/json.ts';

/** What `training-program.ts` is told, as JSON in `JOB`. */
export interface TrainingJob {
  readonly out: string;
  readonly epochs: number;
  readonly ckptPath?: string;
  /** Default 8: the last batch of the 53 items has 5. */
  readonly batchSize?: number;
  readonly accumulate?: number;
  /** A pause in every step, so that a signal finds training under way. */
  readonly stepMs?: number;
  /** What goes wrong, on which rank, at this global step. */
  readonly trouble?: {
    readonly rank: number;
    readonly step: number;
    readonly kind:
      | 'hook throws'
      | 'timer throws'
      | 'promise rejects'
      | 'exits'
      | 'is killed'
      | 'never settles'
      | 'saves alone'
      | 'flushes alone'
      | 'save fails'
      /** After `step` batches; it has no length. */
      | 'data ends'
      /** From that step on. */
      | 'metric is NaN'
      /** Each time that a checkpoint is durable. */
      | 'logger flushes';
  };
  readonly library?: string;
}

/** What each rank says when its `fit` has ended. */
export interface TrainingResult {
  /** The code of the error that `fit` ended with, or its name. */
  readonly error: string | null;
  readonly message: string | null;
  readonly steps: number;
  readonly weights: readonly number[];
  /** Of both checkpoint callbacks. */
  readonly states: readonly JsonValue[];
  readonly metrics: Readonly<Record<string, number>>;
}
