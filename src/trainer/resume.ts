import type { JsonValue } from '../format/json.ts';
import type { Logger } from '../loggers/logger.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { finishSave } from '../saving/finish-save.ts';
import type { StoredName } from '../saving/stored-save.ts';
import { newerFiles } from './checkpoint-folders.ts';
import type { Checkpointing } from './checkpointing.ts';
import { loggerRun, type ResumeSource } from './find-checkpoint.ts';
import type { RunFolders } from './run-folders.ts';

/** Loggers go on with the run that is resumed, or begin a new one. */
export async function beginLoggers(
  loggers: readonly Logger[],
  found: ResumeSource | undefined,
  ckptPath: string | null | undefined,
): Promise<void> {
  const { loggers: given } = found?.reader.document ?? {};
  const stored: readonly JsonValue[] = Array.isArray(given) ? given : [];
  const goesOn = ckptPath === 'last' || ckptPath === 'best';
  for (const [index, logger] of loggers.entries()) {
    const run = await loggerRun(logger, stored[index], goesOn);
    if (run === undefined || logger.resume === undefined) {
      await logger.setup?.(loggers.slice(0, index));
    } else {
      await logger.resume(run.version, run.position);
    }
  }
}

/**
 * What a resume does to a run's folders before anything is restored.
 *
 * @returns one warning for each that needs it, and the names that another run has taken meanwhile.
 */
export async function finishFolders(
  reader: CheckpointReader,
  checkpointing: Checkpointing,
  runFolders: RunFolders,
  options: { readonly mayWrite: boolean },
): Promise<{ readonly warnings: readonly string[]; readonly taken: readonly StoredName[] }> {
  const { storage } = checkpointing;
  const folders = runFolders.all(checkpointing.defaultFolder);
  const taken = options.mayWrite ? await finishSave(storage, reader, folders) : [];
  const isTaken = taken.map(
    ({ path }) =>
      `'${path}' was made after the checkpoint resumed from, by another run: it is left alone, and this run ` +
      `saves beside it.`,
  );
  const newer = await newerFiles(storage, folders, reader, checkpointing.stateKeys);
  return { warnings: [...isTaken, ...newer], taken };
}
