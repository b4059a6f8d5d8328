import { planFile } from '../format/checkpoint-file.ts';
import type { Storage, StorageWriter } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { documentOf, type SaveJob, type SaveName } from './save-job.ts';
import type { SnapshotTensor } from './snapshot.ts';

/** A job, and the names of it that are published. */
interface Publication {
  readonly job: SaveJob;
  readonly published: Set<string>;
}

/** How many bytes are read from the engine before they are written: bounds memory, keeps writes large. */
const BATCH_BYTES = 256 * 1024 * 1024;

/**
 * Writes one content once and gives it all its names. Every name is whole and durable as soon as it is
 * visible. Returns the bytes written.
 */
export async function publishContent(
  storage: Storage,
  { job, published }: Publication,
  names: readonly SaveName[],
  checksum: Checksum,
): Promise<number> {
  const replaceable = (name: SaveName): boolean => name.replaces || published.has(name.path);
  let bytes = 0;
  let written: string | undefined;
  for (const name of names.filter(({ linkTo }) => linkTo === undefined)) {
    const replace = replaceable(name);
    const isLinked = written !== undefined && (await storage.link(written, name.path, { replace }));
    if (!isLinked) bytes += await writeFile(storage, job, name, replace, checksum);
    written ??= name.path;
    published.add(name.path);
  }
  for (const name of names) {
    if (name.linkTo === undefined) continue;
    const target = relativePath(name.path, name.linkTo);
    await storage.symlink(target, name.path, { replace: replaceable(name) });
    published.add(name.path);
  }
  return bytes;
}

async function writeFile(
  storage: Storage,
  job: SaveJob,
  name: SaveName,
  replace: boolean,
  checksum: Checksum,
): Promise<number> {
  const tensors = job.snapshot.tensors.filter(
    ({ group }) => !name.weightsOnly || group === 'model',
  );
  const plan = planFile(documentOf(job, name.weightsOnly), tensors);
  const ordered = plan.order.map((index) => tensors[index] as SnapshotTensor);
  const writer = await storage.writer(name.path);
  try {
    // The checksums are known once the bytes have been read: their place is kept, and filled in last.
    await writer.write([plan.header()]);
    const checksums = await writeTensors(writer, ordered, checksum);
    await writer.patch(0, plan.header(checksums));
    await writer.publish({ replace });
  } catch (error) {
    await writer.abort();
    throw error;
  }
  return plan.sizeBytes;
}

async function writeTensors(
  writer: StorageWriter,
  tensors: readonly SnapshotTensor[],
  checksum: Checksum,
): Promise<readonly number[]> {
  const checksums: number[] = [];
  let batch: Uint8Array[] = [];
  let batchBytes = 0;
  for (const tensor of tensors) {
    const bytes = await tensor.read();
    checksums.push(checksum(bytes));
    batch.push(bytes);
    batchBytes += bytes.length;
    if (batchBytes >= BATCH_BYTES) {
      await writer.write(batch);
      batch = [];
      batchBytes = 0;
    }
  }
  if (batch.length > 0) await writer.write(batch);
  return checksums;
}

/** The path of `to` as a link at `from` spells it: relative to the link's own folder. */
export function relativePath(from: string, to: string): string {
  const source = from.split('/').slice(0, -1);
  const target = to.split('/');
  let shared = 0;
  while (shared < source.length && source[shared] === target[shared]) shared++;
  return [...source.slice(shared).map(() => '..'), ...target.slice(shared)].join('/');
}
