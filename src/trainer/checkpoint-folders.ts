import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { trimJournal } from '../saving/journal.ts';
import { type CheckpointFolder, filesAfter, sweepFolder } from '../saving/recovery.ts';
import { orderOf } from '../saving/stored-save.ts';
import type { Storage } from '../storages/storage.ts';

/** Makes a run's folders ready, before any training: what cannot be written to is refused here. */
export async function prepareFolders(
  storage: Storage,
  folders: readonly CheckpointFolder[],
): Promise<void> {
  for (const folder of folders) {
    await storage.prepare(folder.path);
    await sweepFolder(storage, folder);
    await trimJournal(storage, folder.path);
  }
}

/**
 * One warning for each folder that holds files of these callbacks which are newer than the checkpoint that is
 * resumed from: a run that went back on purpose leaves them. They do not rank, and nobody removes them.
 */
export async function newerFiles(
  storage: Storage,
  folders: readonly CheckpointFolder[],
  reader: CheckpointReader,
  stateKeys: ReadonlySet<string>,
): Promise<readonly string[]> {
  const { globalStep } = orderOf(reader.document);
  const warnings: string[] = [];
  for (const folder of folders) {
    const files = await filesAfter(storage, folder, globalStep, stateKeys);
    if (files.length === 0) continue;
    warnings.push(
      `'${folder.path}' holds ${files.length} checkpoints that are newer than the one resumed from ` +
        `(globalStep ${globalStep}). They do not rank, and new saves beside them get a version. If they are ` +
        `not wanted: rm ${files.map((path) => `'${path}'`).join(' ')}`,
    );
  }
  return warnings;
}
