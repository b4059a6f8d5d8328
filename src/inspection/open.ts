import { placeOf, type StorageOptions } from '../place.ts';
import { CheckpointReader } from '../saving/checkpoint-reader.ts';

/** Opens a file by its header. */
export async function openAt(
  given: string | URL,
  options: StorageOptions,
): Promise<CheckpointReader> {
  const { storage, path } = await placeOf(given, options);
  return await CheckpointReader.open(storage, path);
}
