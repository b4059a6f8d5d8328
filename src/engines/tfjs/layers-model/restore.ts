import type { LayersModel } from '@tensorflow/tfjs-layers';
import { CheckpointFileError, MisconfigurationError } from '../../../errors.ts';
import { checkOptionNames } from '../../../option-check.ts';
import {
  type CheckpointPlace,
  FOREIGN_RUN_NAMES,
  type ForeignRunOptions,
  findState,
  loadState,
} from '../../../trainer/foreign-run.ts';
import { ModelState } from './model-state.ts';
import { rememberRestored } from './restored.ts';

/**
 * Puts weights and the exact state of the optimizer back into a compiled model, and what the callbacks of
 * {@link modelCheckpoint} remember into those of its next `fit`:
 *
 * ```ts
 * const initialEpoch = await restore(model, 'last', checkpoint);
 * await model.fit(x, y, { epochs, initialEpoch, callbacks: checkpoint });
 * ```
 *
 * With `shuffle: false` and no dropout the resumed training ends with the same bits as one that was never
 * interrupted. Shuffling and dropout draw from `Math.random`, which has no state to restore: then it is as
 * good, not the same. A file saved within an epoch gives that epoch, from its beginning.
 *
 * @param path a file; `'last'`, the newest whole checkpoint of `from`; `'best'`, the best that one names.
 * @param from the callback, or the folder, that `'last'` and `'best'` are looked for in. Default `checkpoints`. Of a
 * folder, the files `*.ckpt` directly in it.
 * @returns the epoch to go on with: 0 for `'last'` when there is no checkpoint yet.
 * @throws MisconfigurationError when the model is not compiled, or the file is weights-only;
 * CheckpointMismatchError, CheckpointFileError; nothing is touched then.
 */
export async function restore(
  model: LayersModel,
  path: string,
  from?: CheckpointPlace,
  options: ForeignRunOptions = {},
): Promise<number> {
  checkOptionNames('restore', options, FOREIGN_RUN_NAMES);
  const state = new ModelState(model);
  if (state.optimizer === undefined) {
    throw new MisconfigurationError(
      `restore: the model '${model.name}' has no optimizer yet. Call model.compile({…}) first.`,
    );
  }
  const reader = await findState(path, from, options);
  if (reader === undefined) return 0;
  const { initialEpoch, isMidEpoch } = (reader.document?.fit ?? {}) as {
    readonly initialEpoch?: unknown;
    readonly isMidEpoch?: unknown;
  };
  if (!Number.isSafeInteger(initialEpoch) || Number(initialEpoch) < 0) {
    throw new CheckpointFileError(
      `'${reader.path}' was not saved in model.fit: it does not say which epoch to go on with. ` +
        `A checkpoint of a Trainer is resumed by trainer.fit(module, {ckptPath}).`,
      { details: { path: reader.path } },
    );
  }
  const sink = options.console ?? console;
  await loadState(state, reader);
  rememberRestored(model, { reader, initialEpoch: Number(initialEpoch) });
  sink.info(`restored ${reader.path}; go on with epoch ${Number(initialEpoch)}`);
  sink.warn(
    'model.fit shuffles with Math.random, which has no state to restore: with shuffle: false and no dropout ' +
      'what follows is the same to the bit as if nothing had interrupted it, else it is as good.',
  );
  if (isMidEpoch === true) {
    sink.warn(
      `'${reader.path}' was saved in the middle of epoch ${Number(initialEpoch)}, and model.fit cannot begin ` +
        `there: it will train that epoch from its beginning.`,
    );
  }
  return Number(initialEpoch);
}
