import type { Storage } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { documentOf, type SaveJob, type SaveName } from './save-job.ts';
import type { Snapshot } from './snapshot.ts';
import { writeCheckpoint } from './write-checkpoint.ts';

/** A job, what it saves, and the names of it that are published. */
interface Publication {
  readonly job: SaveJob;
  readonly snapshot: Snapshot;
  readonly published: Set<string>;
}

/**
 * Writes one content once and gives it all its names. Every name is whole and durable as soon as it is
 * visible. Returns the bytes written.
 */
export async function publishContent(
  storage: Storage,
  { job, snapshot, published }: Publication,
  names: readonly SaveName[],
  checksum: Checksum,
): Promise<number> {
  const replaceable = (name: SaveName): boolean => name.replaces || published.has(name.path);
  let bytes = 0;
  let written: string | undefined;
  for (const name of names.filter(({ linkTo }) => linkTo === undefined)) {
    const replace = replaceable(name);
    const isLinked = written !== undefined && (await storage.link(written, name.path, { replace }));
    if (!isLinked) bytes += await writeName(storage, job, snapshot, name, replace, checksum);
    written ??= name.path;
    published.add(name.path);
  }
  for (const name of names) {
    if (name.linkTo === undefined) continue;
    await storage.symlink(name.linkTo, name.path, { replace: replaceable(name) });
    published.add(name.path);
  }
  return bytes;
}

async function writeName(
  storage: Storage,
  job: SaveJob,
  snapshot: Snapshot,
  name: SaveName,
  replace: boolean,
  checksum: Checksum,
): Promise<number> {
  const tensors = snapshot.tensors.filter(({ group }) => !name.weightsOnly || group === 'model');
  const document = documentOf(job, snapshot, name.weightsOnly);
  return await writeCheckpoint(storage, name.path, { document, tensors }, replace, checksum);
}
