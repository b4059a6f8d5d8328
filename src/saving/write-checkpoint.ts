import { nextMacrotask } from '../event-loop.ts';
import { type CheckpointTensor, type FilePlan, planFile } from '../format/checkpoint-file.ts';
import type { JsonObject } from '../format/json.ts';
import type { Storage, StorageWriter } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { writeFile } from './write-file.ts';

/** A tensor whose bytes are read when they are written. */
export interface ReadableTensor extends CheckpointTensor {
  /** All its bytes, little-endian. They are not written to, and not kept once they are in the file. */
  read(): Promise<Uint8Array>;
  /** The same in pieces, where it is too large to be held at once. */
  pieces?(): AsyncIterable<Uint8Array>;
}

/** What a checkpoint file is made of. */
export interface CheckpointFile {
  readonly document: JsonObject;
  readonly tensors: readonly ReadableTensor[];
}

/** Up to this size all is written in one call: the checksums take this thread about a millisecond. */
const SMALL_BYTES = 4 * 1024 * 1024;

/** How many bytes are read from the engine before they are written: bounds memory, keeps writes large. */
const BATCH_BYTES = 256 * 1024 * 1024;

/** How long reading may hold up this thread before others get a turn. */
const TURN_MS = 4;

/**
 * Writes a checkpoint and publishes it: when this resolves it is whole, durable and has its name. What was
 * written is removed when anything fails.
 *
 * @returns its size in bytes.
 * @throws StorageError `Conflict` when `replace` is false and the name is taken.
 */
export async function writeCheckpoint(
  storage: Storage,
  path: string,
  { document, tensors }: CheckpointFile,
  replace: boolean,
  checksum: Checksum,
): Promise<number> {
  const plan = planFile(document, tensors);
  const ordered = plan.order.map((index) => tensors[index] as ReadableTensor);
  const { sizeBytes } = plan;
  await writeFile(storage, path, { sizeBytes, replace }, async (writer) => {
    if (sizeBytes <= SMALL_BYTES) await writeAtOnce(writer, plan, ordered, checksum);
    else await writeInBatches(writer, plan, ordered, checksum);
  });
  return sizeBytes;
}

async function writeAtOnce(
  writer: StorageWriter,
  plan: FilePlan,
  tensors: readonly ReadableTensor[],
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
  tensors: readonly ReadableTensor[],
  checksum: Checksum,
): Promise<void> {
  const computed: number[] = [];
  let batch: Uint8Array[] = [plan.header()];
  let batchBytes = 0;
  let turnBegan = performance.now();
  for (const tensor of tensors) {
    let soFar = 0;
    for await (const bytes of tensor.pieces?.() ?? [await tensor.read()]) {
      if (writer.checksums === undefined) soFar = checksum(bytes, soFar);
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
    computed.push(soFar);
  }
  if (batch.length > 0) await writer.write(batch);
  await writer.patch(0, plan.header((await writer.checksums?.(plan.ranges)) ?? computed));
}
