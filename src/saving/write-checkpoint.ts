import { nextMacrotask } from '../event-loop.ts';
import { type CheckpointTensor, type FilePlan, planFile } from '../format/checkpoint-file.ts';
import type { JsonObject } from '../format/json.ts';
import type { ByteRange, Storage, StorageWriter } from '../storages/storage.ts';
import type { Checksum } from './checksum.ts';
import { writeFile } from './write-file.ts';
import { fixedPart, type Part, type Readable, TensorPart, writeParts } from './write-parts.ts';

/** A tensor whose bytes are read when they are written. */
export interface ReadableTensor extends CheckpointTensor, Readable {
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

/**
 * How many bytes are written by one call: few enough that flushing, which begins with the first of them, has something
 * to do early, and that an engine which copies needs little memory; enough that calls are few.
 */
const BATCH_BYTES = 128 * 1024 * 1024;

/** How long reading may hold up this thread before others get a turn. */
const TURN_MS = 4;

/** A name for a file. */
export interface NewName {
  readonly path: string;
  /** Whether it may stand for something else already. */
  readonly replace: boolean;
}

/**
 * Writes a checkpoint and publishes it: when this resolves it is whole, durable and has its name. What was
 * written is removed when anything fails.
 *
 * @param giveNames called when all is written, to give it further names that are durable with the first.
 * @returns its size in bytes.
 * @throws StorageError `Conflict` when `replace` is false and the name is taken.
 */
export async function writeCheckpoint(
  storage: Storage,
  { path, replace }: NewName,
  { document, tensors }: CheckpointFile,
  checksum: Checksum,
  giveNames?: (writer: StorageWriter) => Promise<void>,
): Promise<number> {
  const plan = planFile(document, tensors);
  const { sizeBytes } = plan;
  await writeFile(storage, path, { sizeBytes, replace }, async (writer) => {
    if (sizeBytes <= SMALL_BYTES) await writeAtOnce(writer, plan, tensors, checksum);
    else await writeInBatches(writer, plan, tensors, checksum);
    await giveNames?.(writer);
  });
  return sizeBytes;
}

async function writeAtOnce(
  writer: StorageWriter,
  plan: FilePlan,
  tensors: readonly ReadableTensor[],
  checksum: Checksum,
): Promise<void> {
  const parts: Part[] = [];
  for (const [i, range] of plan.ranges.entries()) {
    const tensor = tensors[plan.order[i]!]!;
    const seen = tensor.view?.();
    const part =
      seen === undefined
        ? fixedPart(range.offset, await tensor.read())
        : new TensorPart(range, tensor, seen);
    parts.push(part);
  }
  const checksums: number[] = [];
  for (const part of parts) checksums.push(checksum(part.view() ?? (await part.read())));
  await writeParts(writer, [fixedPart(0, plan.header(checksums)), ...parts]);
}

/** The checksums are known last: the header keeps a place for them, and is written over. */
async function writeInBatches(
  writer: StorageWriter,
  plan: FilePlan,
  tensors: readonly ReadableTensor[],
  checksum: Checksum,
): Promise<void> {
  const checksums: (readonly number[] | Promise<readonly number[]>)[] = [];
  let batch: Part[] = [fixedPart(0, plan.header())];
  let batchBytes = 0;
  let complete: ByteRange[] = [];
  let turnBegan = performance.now();

  async function writeBatch(): Promise<void> {
    await writeParts(writer, batch);
    const computing = writer.checksums?.(complete);
    // Awaited at the end, unless something else fails before.
    computing?.catch(() => {});
    if (computing !== undefined) checksums.push(computing);
    [batch, batchBytes, complete, turnBegan] = [[], 0, [], performance.now()];
  }

  for (const [i, range] of plan.ranges.entries()) {
    const tensor = tensors[plan.order[i]!]!;
    let soFar = 0;
    for await (const part of partsOf(tensor, range)) {
      if (batchBytes >= BATCH_BYTES) {
        await writeBatch();
      } else if (performance.now() - turnBegan > TURN_MS) {
        await nextMacrotask();
        turnBegan = performance.now();
      }
      if (writer.checksums === undefined) {
        soFar = checksum(part.view() ?? (await part.read()), soFar);
      }
      batch.push(part);
      batchBytes += part.length;
    }
    complete.push(range);
    if (writer.checksums === undefined) checksums.push([soFar]);
  }
  await writeBatch();
  await writer.patch(0, plan.header((await Promise.all(checksums)).flat()));
}

/** A tensor where it lies, or what is read of it: one part, unless it is too large. */
function partsOf(tensor: ReadableTensor, range: ByteRange): Iterable<Part> | AsyncIterable<Part> {
  const seen = tensor.view?.();
  return seen ? [new TensorPart(range, tensor, seen)] : partsRead(tensor, range.offset);
}

async function* partsRead(tensor: ReadableTensor, offset: number): AsyncGenerator<Part> {
  let at = offset;
  for await (const bytes of tensor.pieces?.() ?? [await tensor.read()]) {
    yield fixedPart(at, bytes);
    at += bytes.byteLength;
  }
}
