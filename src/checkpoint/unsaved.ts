import type { PlannedSave } from './decide.ts';
import type { ResolvedOptions } from './options.ts';
import { type CheckpointState, ranking } from './state.ts';

/**
 * The state when a planned save could not be carried out: without its file, and with what it was to displace,
 * which is still there, at its old place. The callback may then keep one file more than `saveTopK`; the next save makes up for it.
 * A later hook of the same step may try again.
 */
export function withoutSave(
  state: CheckpointState,
  options: Pick<ResolvedOptions, 'monitor' | 'mode' | 'saveTopK'>,
  { role, path, displaces }: PlannedSave,
): CheckpointState {
  const [previous = ''] = displaces.map((displaced) => displaced.path);
  if (role === 'last') {
    if (state.lastModelPath !== path) return state;
    return { ...state, lastModelPath: previous, lastSavedAtStep: 0 };
  }
  if (role === 'exception') return state;
  const isNewest = state.topKSavedPath === path;
  const open = isNewest ? { ...state, topKSavedAtStep: 0, topKSavedPath: '' } : state;
  if (options.monitor === undefined) {
    return state.bestModelPath === path ? { ...open, bestModelPath: previous } : open;
  }
  let kept = state.bestKModels.without(path);
  for (const { path: displaced, score, age } of displaces) {
    if (score !== undefined) kept = kept.with(displaced, score, age);
  }
  return { ...open, ...ranking(options, kept), bestKModels: kept };
}
