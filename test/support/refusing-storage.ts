import { memoryFiles, type Storage, StorageError } from '../../src/index.ts';

/** A memory in which nothing can be written under some names. */
export function refusingStorage(isRefused: (path: string) => boolean): Storage {
  const storage = memoryFiles();
  const refused = (path: string): Promise<never> =>
    Promise.reject(new StorageError('NoSpace', path, `No space for '${path}'.`));
  return {
    ...storage,
    async writer(path) {
      if (isRefused(path)) return await refused(path);
      const writer = await storage.writer(path);
      return { ...writer, link: (to) => (isRefused(to) ? refused(to) : writer.link(to)) };
    },
  };
}
