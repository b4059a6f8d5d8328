import type { Storage } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { documentOf, type SaveJob, type SaveName } from './save-job.ts';
import type { Snapshot } from './snapshot.ts';
import { type CheckpointFile, type NewName, writeCheckpoint } from './write-checkpoint.ts';

/** A job, what it saves, and the names of it that are published. */
interface Publication {
  readonly job: SaveJob;
  readonly snapshot: Snapshot;
  readonly published: Set<string>;
}

/**
 * Writes one content once and gives it all its names. Every name is whole as soon as it is visible; all are durable
 * when this resolves. Returns the bytes written.
 */
export async function publishContent(
  storage: Storage,
  publication: Publication,
  names: readonly SaveName[],
  checksum: Checksum,
): Promise<number> {
  const { published } = publication;
  const mayReplace = ({ path, replaces }: SaveName): boolean => replaces || published.has(path);
  const file = fileOf(
    publication,
    names.some(({ weightsOnly }) => weightsOnly),
  );
  let bytes = 0;
  let missing: readonly NewName[] = names
    .filter(({ linkTo }) => linkTo === undefined)
    .map((name) => ({ path: name.path, replace: mayReplace(name) }))
    // Whether a name is taken shows before anything is replaced.
    .sort((a, b) => Number(a.replace) - Number(b.replace));
  while (missing.length > 0) {
    // One that may replace something costs nothing but a `rename`.
    const own = missing.find(({ replace }) => replace) ?? missing[0]!;
    const further = missing.filter((name) => name !== own);
    const left: NewName[] = [];
    bytes += await writeCheckpoint(storage, own, file, checksum, async (writer) => {
      for (const name of further) if (!(await writer.link(name.path, name))) left.push(name);
    });
    for (const name of missing) if (!left.includes(name)) published.add(name.path);
    missing = left;
  }
  for (const name of names) {
    if (name.linkTo === undefined) continue;
    await storage.symlink(name.linkTo, name.path, { replace: mayReplace(name) });
    published.add(name.path);
  }
  return bytes;
}

function fileOf({ job, snapshot }: Publication, weightsOnly: boolean): CheckpointFile {
  return {
    document: documentOf(job, snapshot, weightsOnly),
    tensors: snapshot.tensors.filter(({ group }) => !weightsOnly || group === 'model'),
  };
}
