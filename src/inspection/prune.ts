import { CheckpointFileError, HighwaterError, MisconfigurationError } from '../errors.ts';
import { checkOptionNames } from '../option-check.ts';
import { placeOf, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { isContained } from '../saving/containment.ts';
import { appendJournal } from '../saving/journal.ts';
import type { Storage } from '../storages/storage.ts';
import { listCheckpoints } from './list.ts';
import { decidePrune, type PrunePlan, type PruneRules, type PruneStep } from './prune-plan.ts';
import { journalFolder } from './read-history.ts';
import { groupedByFolder } from './summary.ts';

/** The plan for one folder. */
export interface FolderPlan extends PrunePlan {
  /** As its storage takes it. */
  readonly folder: string;
}

/** What pruning did. */
export interface PruneOutcome {
  readonly removed: readonly string[];
  /** What is still there although it was to go, and why. */
  readonly left: readonly { readonly path: string; readonly problem: string }[];
}

/**
 * Works out what pruning would remove from a folder of checkpoints and from those below it, each by itself,
 * so that every run keeps its own best. Removes nothing.
 *
 * @throws MisconfigurationError for rules that cannot be (see {@link PruneRules}); StorageError when the
 * folder cannot be listed.
 */
export async function planPrune(
  folder: string | URL,
  rules: PruneRules,
  options: StorageOptions = {},
): Promise<readonly FolderPlan[]> {
  checkOptionNames('planPrune', options, STORAGE_NAMES);
  const { checkpoints } = await listCheckpoints(folder, options);
  const nowMs = Date.now();
  // Rules that make no sense are refused in an empty folder too.
  decidePrune([], rules, nowMs);
  return [...groupedByFolder(checkpoints)].map(([place, inside]) => {
    try {
      return { folder: place, ...decidePrune(inside, rules, nowMs) };
    } catch (error) {
      if (!(error instanceof MisconfigurationError)) throw error;
      const details = { ...error.details, folder: place };
      throw new MisconfigurationError(`'${place}': ${error.message}`, { details });
    }
  });
}

/**
 * Carries out plans of {@link planPrune}: durably, one file after the other, links before what they lead to,
 * each noted in the folder's journal. Before anything goes from a folder, a checkpoint that stays in it is read
 * in full: a plan knows only headers. A file that has changed since the plan was made stays.
 *
 * @throws CheckpointFileError when none of those that would stay in a folder is sound; then nothing more is
 * removed, there or in the folders that follow.
 */
export async function prune(
  plans: readonly FolderPlan[],
  options: StorageOptions = {},
): Promise<PruneOutcome> {
  checkOptionNames('prune', options, STORAGE_NAMES);
  const removed: string[] = [];
  const left: { path: string; problem: string }[] = [];
  for (const plan of plans) {
    if (plan.remove.length === 0) continue;
    const { storage } = await placeOf(plan.folder, options);
    await checkOneIsSound(storage, plan);
    for (const step of plan.remove) {
      const problem = await remove(storage, plan.folder, step);
      if (problem === undefined) removed.push(step.checkpoint.path);
      else left.push({ path: step.checkpoint.path, problem });
    }
  }
  return { removed, left };
}

/** The kind that the plan makes sure to keep one of: whole checkpoints, or without any, weights. */
async function checkOneIsSound(storage: Storage, { folder, keep }: FolderPlan): Promise<void> {
  const kept = keep.map(({ checkpoint }) => checkpoint);
  const whole = kept.filter(({ state }) => state === 'whole');
  const candidates =
    whole.length > 0 ? whole : kept.filter(({ state }) => state === 'weights only');
  let damage: unknown;
  for (const { path } of candidates.reverse()) {
    try {
      await (await CheckpointReader.open(storage, path)).verify();
      return;
    } catch (error) {
      if (!(error instanceof HighwaterError)) throw error;
      damage = error;
    }
  }
  throw new CheckpointFileError(
    `Nothing is removed from '${folder}': none of the checkpoints that would stay is sound. ` +
      (damage instanceof Error ? damage.message : ''),
    { details: { folder }, cause: damage },
  );
}

/** Returns why the file is still there; undefined when it is gone. */
async function remove(
  storage: Storage,
  folder: string,
  { checkpoint, reason }: PruneStep,
): Promise<string | undefined> {
  const { path, sizeBytes, savedAt, epoch, globalStep } = checkpoint;
  if (!(await isContained(storage, folder, path))) {
    throw new MisconfigurationError(
      `prune: '${path}' is not inside '${folder}', or a link leads there.`,
      {
        details: { path, folder },
      },
    );
  }
  try {
    const entry = await storage.stat(path);
    if (entry === undefined) return 'it is gone already';
    const isSame =
      entry.sizeBytes === sizeBytes && new Date(entry.modifiedAtMs).toISOString() === savedAt;
    if (!isSame) return 'it has changed since';
    await storage.remove(path);
  } catch (error) {
    if (!(error instanceof HighwaterError)) throw error;
    return error.message;
  }
  const line = { epoch, globalStep, kind: 'removed', path, reason: `pruned: ${reason}` };
  await appendJournal(storage, [
    { folder: (await journalFolder(storage, folder)) ?? folder, line },
  ]);
  return undefined;
}
