import type { JsonValue } from '../format/json.ts';
import type { ReadStorage } from '../saving/checkpoint-reader.ts';
import type { ByteRange, StorageEntry } from '../storages/storage.ts';
import type { Ranks } from './ranks.ts';

/**
 * A storage of which rank 0 reads, and every rank has the bytes: each read is one broadcast, so a checkpoint goes
 * over tensor by tensor and no rank holds a second copy. All ranks must ask for the same, in the same order.
 */
export function rankZeroReads(storage: ReadStorage, ranks: Ranks): ReadStorage {
  if (!ranks.areMany) return storage;
  let last: Promise<unknown> = Promise.resolve();
  /** In the order in which they were asked for, whatever the disk is faster with. */
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const result = last.then(work, work);
    last = result.catch(() => undefined);
    return result;
  };
  const readShared = async (path: string, range: ByteRange | undefined): Promise<Uint8Array> => {
    let own: Uint8Array | undefined;
    const length = await ranks.fromZero(async () => {
      own = await storage.read(path, range);
      return own.length;
    });
    const bytes = own ?? new Uint8Array(length);
    await ranks.strategy?.broadcastTensor(bytes);
    return bytes;
  };
  return {
    read: (path, range) => inOrder(() => readShared(path, range)),
    readParts: (path, ranges, each) =>
      inOrder(async () => {
        for (const [i, range] of ranges.entries()) each(i, await readShared(path, range));
      }),
    stat: (path) =>
      inOrder(async () => {
        const found = await ranks.fromZero(
          async () => ({ ...(await storage.stat(path)) }) as unknown as JsonValue,
        );
        const entry = found as unknown as Partial<StorageEntry>;
        return entry.path === undefined ? undefined : (entry as StorageEntry);
      }),
  };
}
