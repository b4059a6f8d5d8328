import type { Storage, StorageWriter } from '../storages/storage.ts';

/**
 * Lets `write` put the bytes of a file into a writer, then publishes it: when this resolves it is whole, durable
 * and has its name. When anything fails, what was written is removed.
 *
 * @param options.sizeBytes how large it is going to be, when that is known.
 * @throws StorageError `Conflict` when `replace` is false and the name is taken; whatever `write` throws.
 */
export async function writeFile(
  storage: Storage,
  path: string,
  { sizeBytes, replace }: { readonly sizeBytes?: number; readonly replace: boolean },
  write: (writer: StorageWriter) => Promise<void>,
): Promise<void> {
  const writer = await storage.writer(path, sizeBytes === undefined ? {} : { sizeBytes });
  try {
    await write(writer);
    await writer.publish({ replace });
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
