import { isDeepStrictEqual } from 'node:util';
import { CheckpointFileError } from '../../src/errors.ts';
import { CheckpointReader } from '../../src/saving/checkpoint-reader.ts';
import { memoryFiles } from '../../src/storages/memory.ts';

/** All that is in a checkpoint. */
export type Content = readonly unknown[];

/** Reads a file as a resume does. No read may ask for more than the file has. */
export async function contentOf(file: Uint8Array): Promise<Content> {
  const storage = memoryFiles();
  const path = '/file.ckpt';
  const writer = await storage.writer(path);
  await writer.write([file]);
  await writer.publish({ replace: true });
  const read: typeof storage.read = async (path, range) => {
    const end = range === undefined ? file.length : range.offset + range.length;
    // The length of the header is asked for before it is known that there is one.
    if (!(end <= Math.max(8, file.length)))
      throw new RangeError(`bytes up to ${end} of ${file.length} are read`);
    return await storage.read(path, range);
  };
  const reader = await CheckpointReader.open({ ...storage, read }, path);
  const groups = new Set(['model', 'optimizer', 'gradient', 'rng'] as const);
  return [reader.document, await reader.load(groups), await reader.loadExtras()];
}

/**
 * What is wrong with the way a damaged file is read; undefined when it is refused with the place where it is
 * damaged, or gives the true values all the same.
 */
export async function complaintOf(file: Uint8Array, truth: Content): Promise<string | undefined> {
  let content: Content;
  try {
    content = await contentOf(file);
  } catch (error) {
    if (!(error instanceof CheckpointFileError)) {
      return `not refused, but failed: ${error instanceof Error ? error.stack : error}`;
    }
    const { byteOffset } = error;
    const isPlace = byteOffset !== undefined && byteOffset >= 0 && byteOffset <= file.length;
    return isPlace
      ? undefined
      : `refused at byte ${byteOffset} of ${file.length}: ${error.message}`;
  }
  return isDeepStrictEqual(content, truth) ? undefined : 'it gave values that were never saved';
}
