import type { FileSystem, OpenFile } from '../../src/storages/local/file-system.ts';

/** One call of the operating system: its name and the paths it is about. */
export interface Call {
  readonly operation: keyof FileSystem | keyof OpenFile;
  readonly paths: readonly string[];
}

/**
 * A file system that tells `before` of each call, which may throw to let it fail. A failing `close` has
 * closed the file all the same, as the system's does.
 */
export function observed(inner: FileSystem, before: (call: Call) => void): FileSystem {
  async function calling<T>(
    operation: Call['operation'],
    paths: readonly string[],
    work: () => Promise<T>,
  ): Promise<T> {
    before({ operation, paths });
    return work();
  }

  function observedFile(file: OpenFile, path: string): OpenFile {
    return {
      writev: (views, position) => calling('writev', [path], () => file.writev(views, position)),
      read: (into, position) => calling('read', [path], () => file.read(into, position)),
      status: () => calling('status', [path], () => file.status()),
      datasync: () => calling('datasync', [path], () => file.datasync()),
      async close() {
        await file.close();
        before({ operation: 'close', paths: [path] });
      },
    };
  }

  const two =
    (operation: 'rename' | 'link' | 'symlink') =>
    (from: string, to: string): Promise<void> =>
      calling(operation, [from, to], () => inner[operation](from, to));

  return {
    rename: two('rename'),
    link: two('link'),
    symlink: two('symlink'),
    open: (path, mode) =>
      calling('open', [path], async () => observedFile(await inner.open(path, mode), path)),
    readlink: (path) => calling('readlink', [path], () => inner.readlink(path)),
    unlink: (path) => calling('unlink', [path], () => inner.unlink(path)),
    mkdir: (folder) => calling('mkdir', [folder], () => inner.mkdir(folder)),
    lstat: (path) => calling('lstat', [path], () => inner.lstat(path)),
    stat: (path) => calling('stat', [path], () => inner.stat(path)),
    async *names(folder) {
      before({ operation: 'names', paths: [folder] });
      yield* inner.names(folder);
    },
    syncFolder: (folder) => calling('syncFolder', [folder], () => inner.syncFolder(folder)),
    freeBytes: (folder) => inner.freeBytes(folder),
  };
}

export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
