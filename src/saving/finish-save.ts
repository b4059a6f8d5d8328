import { CheckpointFileError } from '../errors.ts';
import type { Storage } from '../storages/storage.ts';
import { CheckpointReader } from './checkpoint-reader.ts';
import { fastestChecksum } from './checksum.ts';
import { isContained } from './containment.ts';
import { publishContent } from './publish.ts';
import type { CheckpointFolder } from './recovery.ts';
import type { SaveJob, SaveName } from './save-job.ts';
import type { Snapshot } from './snapshot.ts';
import { orderOf, type StoredName, storedSave } from './stored-save.ts';
import { writeFile } from './write-file.ts';

/** How much of a checkpoint is held at once where a storage cannot give it a second name. */
const COPY_BYTES = 64 * 1024 * 1024;

/**
 * Finishes the hook in which a full checkpoint was saved, when a crash cut it short: makes the names that are
 * missing or still hold an older save, the weights-only ones from its weights, then removes what was to go.
 * Nothing outside `folders`, whatever the file claims; and nothing that appeared after the checkpoint: a run that
 * found a free name in the same folder meanwhile made it.
 *
 * @returns the names that are not this run's, since another has made them meanwhile.
 * @throws CheckpointFileError when what the file says of its save cannot be understood.
 */
export async function finishSave(
  storage: Storage,
  reader: CheckpointReader,
  folders: readonly CheckpointFolder[],
): Promise<readonly StoredName[]> {
  const isOwn = async (path: string): Promise<boolean> => {
    for (const folder of folders) if (await isContained(storage, folder.path, path)) return true;
    return false;
  };
  const madeAtMs = await modifiedAt(storage, reader.path);
  const isLater = async (path: string): Promise<boolean> => {
    const entry = await storage.stat(path);
    return entry !== undefined && entry.modifiedAtMs > madeAtMs;
  };
  const job = jobOf(reader);
  const missing: SaveName[] = [];
  const taken: SaveName[] = [];
  for (const name of job.names) {
    const mayBeMade = (await isOwn(name.path)) && (await isOwn(name.linkTo ?? name.path));
    if (!mayBeMade || (await isDone(storage, name, reader, isOwn))) continue;
    const names = (await isLater(name.path)) ? taken : missing;
    names.push(name);
  }
  for (const { path, linkTo } of missing.filter(({ weightsOnly }) => !weightsOnly)) {
    if (linkTo !== undefined) await storage.symlink(linkTo, path, { replace: true });
    else if (!(await storage.link(reader.path, path, { replace: true }))) {
      await copyFile(storage, reader.path, path);
    }
  }
  const weights = missing.filter(({ weightsOnly }) => weightsOnly);
  if (weights.length > 0) {
    const snapshot = await weightsIn(reader);
    const published = new Set<string>();
    await publishContent(storage, { job, snapshot, published }, weights, await fastestChecksum());
  }
  for (const { path } of job.removals) {
    if ((await isOwn(path)) && !(await isLater(path))) await storage.remove(path);
  }
  return taken;
}

/** When the bytes of a file were written, whatever links lead to it. In milliseconds since 1970. */
async function modifiedAt(storage: Storage, path: string): Promise<number> {
  let entry = await storage.stat(path);
  while (entry?.target !== undefined) entry = await storage.stat(entry.target);
  return entry?.modifiedAtMs ?? Number.NEGATIVE_INFINITY;
}

/** The job that a checkpoint is of. */
function jobOf(reader: CheckpointReader): SaveJob {
  const { names, removals } = storedSave(reader.document);
  return {
    names: names.map((name) => ({ ...name, replaces: true })),
    removals: removals.map((path) => ({ path, reason: '' })),
    journal: [],
    isAwaited: true,
  };
}

async function weightsIn(reader: CheckpointReader): Promise<Snapshot> {
  const weights = await reader.loadWeights();
  return {
    document: reader.document ?? {},
    tensors: weights.map((weight) => ({ ...weight, read: async () => weight.bytes, release() {} })),
    release() {},
  };
}

/** Whether a name stands for this very save, or a later one, already. */
async function isDone(
  storage: Storage,
  { path, linkTo }: SaveName,
  reader: CheckpointReader,
  isOwn: (path: string) => Promise<boolean>,
): Promise<boolean> {
  if (path === reader.path) return true;
  const entry = await storage.stat(path);
  if (entry === undefined) return false;
  if (linkTo !== undefined) return entry.target === linkTo;
  // What a link leads to elsewhere is not looked at.
  if (entry.target !== undefined && !(await isOwn(entry.target))) return true;
  try {
    const there = orderOf((await CheckpointReader.open(storage, path)).document);
    const here = orderOf(reader.document);
    return there.globalStep >= here.globalStep && there.sequence >= here.sequence;
  } catch (error) {
    // What is no checkpoint is left alone.
    if (error instanceof CheckpointFileError) return true;
    throw error;
  }
}

async function copyFile(storage: Storage, from: string, to: string): Promise<void> {
  const { sizeBytes = 0 } = (await storage.stat(from)) ?? {};
  await writeFile(storage, to, { sizeBytes, replace: true }, async (writer) => {
    for (let offset = 0; offset < sizeBytes; offset += COPY_BYTES) {
      await writer.write([await storage.read(from, { offset, length: COPY_BYTES })]);
    }
  });
}
