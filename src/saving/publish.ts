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
    .map((name) => ({ path: name.path, replace: mayReplace(name) }));
  while (missing.length > 0) {
    // To replace something costs nothing but a `rename`. Names that must be free come before it, and go with it.
    const own = missing.find(({ replace }) => replace) ?? missing[0]!;
    const others = missing.filter((name) => name !== own);
    const fresh = others.filter(({ replace }) => !replace);
    const left: NewName[] = [];
    bytes += await writeCheckpoint(storage, own, file, checksum, async (writer) => {
      for (const name of fresh) if (!(await writer.link(name.path))) left.push(name);
    });
    for (const name of [own, ...fresh]) if (!left.includes(name)) published.add(name.path);
    for (const name of others.filter(({ replace }) => replace)) {
      if (await storage.link(own.path, name.path, name)) published.add(name.path);
      else left.push(name);
    }
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
