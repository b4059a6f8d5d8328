import { nextMacrotask } from '../event-loop.ts';
import { type FilePlan, planFile } from '../format/checkpoint-file.ts';
import type { Storage, StorageWriter } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { documentOf, type SaveJob, type SaveName } from './save-job.ts';
import type { Snapshot, SnapshotTensor } from './snapshot.ts';

/** A job, what it saves, and the names of it that are published. */
interface Publication {
  readonly job: SaveJob;
  readonly snapshot: Snapshot;
  readonly published: Set<string>;
}

/** Up to this size all is written in one call: the checksums take this thread about a millisecond. */
const SMALL_BYTES = 4 * 1024 * 1024;

/** How many bytes are read from the engine before they are written: bounds memory, keeps writes large. */
const BATCH_BYTES = 256 * 1024 * 1024;

/** How long reading may hold up this thread before others get a turn. */
const TURN_MS = 4;

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
    if (!isLinked) bytes += await writeFile(storage, job, snapshot, name, replace, checksum);
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
  snapshot: Snapshot,
  name: SaveName,
  replace: boolean,
  checksum: Checksum,
): Promise<number> {
  const tensors = snapshot.tensors.filter(({ group }) => !name.weightsOnly || group === 'model');
  const plan = planFile(documentOf(job, snapshot, name.weightsOnly), tensors);
  const ordered = plan.order.map((index) => tensors[index] as SnapshotTensor);
  const { sizeBytes } = plan;
  const writer = await storage.writer(name.path, { sizeBytes });
  try {
    if (sizeBytes <= SMALL_BYTES) await writeAtOnce(writer, plan, ordered, checksum);
    else await writeInBatches(writer, plan, ordered, checksum);
    await writer.publish({ replace });
  } catch (error) {
    await writer.abort();
    throw error;
  }
  return sizeBytes;
}

async function writeAtOnce(
  writer: StorageWriter,
  plan: FilePlan,
  tensors: readonly SnapshotTensor[],
  checksum: Checksum,
): Promise<void> {
  const bytes: Uint8Array[] = [];
  for (const tensor of tensors) bytes.push(await tensor.read());
  await writer.write([plan.header(bytes.map((view) => checksum(view))), ...bytes]);
}

/** The checksums are known last: the header keeps a place for them, and is written over. */
async function writeInBatches(
  writer: StorageWriter,
  plan: FilePlan,
  tensors: readonly SnapshotTensor[],
  checksum: Checksum,
): Promise<void> {
  const computed: number[] = [];
  let batch: Uint8Array[] = [plan.header()];
  let batchBytes = 0;
  let turnBegan = performance.now();
  for (const tensor of tensors) {
    const bytes = await tensor.read();
    if (writer.checksums === undefined) computed.push(checksum(bytes));
    batch.push(bytes);
    batchBytes += bytes.length;
    if (batchBytes >= BATCH_BYTES) {
      await writer.write(batch);
      batch = [];
      batchBytes = 0;
      turnBegan = performance.now();
    } else if (performance.now() - turnBegan > TURN_MS) {
      await nextMacrotask();
      turnBegan = performance.now();
    }
  }
  if (batch.length > 0) await writer.write(batch);
  await writer.patch(0, plan.header((await writer.checksums?.(plan.ranges)) ?? computed));
}

/** The path of `to` as a link at `from` spells it: relative to the link's own folder. */
export function relativePath(from: string, to: string): string {
  const source = from.split('/').slice(0, -1);
  const target = to.split('/');
  let shared = 0;
  while (shared < source.length && source[shared] === target[shared]) shared++;
  return [...source.slice(shared).map(() => '..'), ...target.slice(shared)].join('/');
}
