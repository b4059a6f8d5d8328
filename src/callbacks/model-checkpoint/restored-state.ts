import { isInside } from '../../checkpoint/folder.ts';
import type { ResolvedOptions } from '../../checkpoint/options.ts';
import {
  type CheckpointState,
  keptPaths,
  stateFromJson,
  unlistedCount,
  withFiles,
  withoutFiles,
} from '../../checkpoint/state.ts';
import type { JsonValue } from '../../format/json.ts';
import type { RankedFile } from '../../saving/recovery.ts';

/** What is there, as far as a stored state speaks of it. */
export interface RestoreSurroundings {
  /** Whether a path is inside `dirpath`, links on the way to it included. */
  isInside(path: string): Promise<boolean>;
  isTaken(path: string): Promise<boolean>;
  /** The callback's own ranked files, the oldest first. */
  rankedFiles(): Promise<readonly RankedFile[]>;
  warn(message: string): void;
}

/**
 * The state that a callback goes on with after a resume: the stored one without the files that are gone, or
 * that lie outside the folder whatever it claims; with another folder only the best path. Each is a warning.
 */
export async function restoredState(
  json: JsonValue,
  present: CheckpointState,
  options: ResolvedOptions,
  around: RestoreSurroundings,
): Promise<CheckpointState> {
  const stored = stateFromJson(json);
  const { dirpath } = present;
  if (stored.dirpath !== dirpath) {
    around.warn(
      `ModelCheckpoint: the checkpoint was saved with dirpath '${stored.dirpath}', this run uses '${dirpath}': ` +
        `only bestModelPath is taken over.`,
    );
    const { bestModelPath } = stored;
    const isElsewhere = !isInside(dirpath, bestModelPath) || (await around.isInside(bestModelPath));
    return { ...present, bestModelPath: isElsewhere ? bestModelPath : '' };
  }
  const unlisted = unlistedCount(json);
  if (unlisted > 0) {
    const files = await around.rankedFiles();
    if (files.length < unlisted) {
      around.warn(
        `ModelCheckpoint: ${unlisted - files.length} of ${unlisted} kept files are gone from '${dirpath}', so ` +
          `they are not among the kept any more.`,
      );
    }
    const complete = withFiles(stored, options, files);
    return withoutFiles(complete, options, await missing([complete.lastModelPath], around));
  }
  return withoutFiles(stored, options, await missing(keptPaths(stored), around));
}

async function missing(
  paths: Iterable<string>,
  around: RestoreSurroundings,
): Promise<ReadonlySet<string>> {
  const gone = new Set<string>();
  for (const path of paths) {
    if (path === '') continue;
    if ((await around.isInside(path)) && (await around.isTaken(path))) continue;
    gone.add(path);
    around.warn(`ModelCheckpoint: '${path}' is gone, so it is not among the kept any more.`);
  }
  return gone;
}
