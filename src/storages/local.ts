import { dirname, isAbsolute, relative } from 'node:path';
import { checkOptionNames } from '../option-check.ts';
import { appendText } from './local/append.ts';
import { entriesOf, entryAt } from './local/entries.ts';
import { attempting, codeOf, storageFault } from './local/fault.ts';
import { type FileSystem, nodeFileSystem } from './local/file-system.ts';
import { durableFolders, tryFolder } from './local/folders.ts';
import { addName, moveName, replaceBy } from './local/naming.ts';
import { readBytes, readParts } from './local/read.ts';
import { sweepFolder } from './local/sweep.ts';
import { localWriter } from './local/writer.ts';
import type { Storage } from './storage.ts';

export interface LocalFilesOptions {
  /** The operating system's calls; default: those of `node:fs`. For tests that record or fail them. */
  readonly fs?: FileSystem;
}

/**
 * Checkpoints as files on a disk of this machine, or on one it has mounted.
 *
 * A file is written under a temporary name in its own folder, flushed, closed, given its name in one
 * step (`rename` to replace, `link` to a name that must be free), and then the folder is flushed: what
 * has its name is whole, and what has been published survives `kill -9` and a power cut. Where there
 * are no hard links, exclusive publishing holds among Highwater's own writers only.
 *
 * Failures are `StorageError`s whose message says what was tried, where, and what to do; `details.code`
 * is the system's (`ENOSPC`, …), and of a full disk `details.wantedBytes` and `details.freeBytes` tell
 * how much is missing.
 */
export function localFiles(options: LocalFilesOptions = {}): Storage {
  checkOptionNames('localFiles', options, { fs: true });
  const fs = options.fs ?? nodeFileSystem;
  const folders = durableFolders(fs);
  const wholeFiles = new Set<string>();

  /** Makes the folder of `path`, lets `work` give or take a name in it, and flushes it. */
  function naming<T>(action: string, path: string, work: () => Promise<T>): Promise<T> {
    return attempting(fs, { action, path }, async () => {
      const result = await folders.within(dirname(path), work);
      await fs.syncFolder(dirname(path));
      return result;
    });
  }

  return {
    name: 'local',
    // On Windows they need a privilege that few users have.
    supportsSymlinks: process.platform !== 'win32',

    writer(path, { sizeBytes } = {}) {
      return attempting(fs, { action: 'write', path, wantedBytes: sizeBytes }, () =>
        folders.within(dirname(path), () => localWriter({ fs, folders }, path, sizeBytes)),
      );
    },
    read(path, range) {
      return attempting(fs, { action: 'read', path }, () => readBytes(fs, path, range));
    },
    readParts(path, ranges, each) {
      return attempting(fs, { action: 'read', path }, () => readParts(fs, path, ranges, each));
    },
    stat(path) {
      return attempting(fs, { action: 'look at', path }, () => entryAt(fs, path));
    },
    async *list(folder) {
      try {
        yield* entriesOf(fs, folder);
      } catch (cause) {
        throw await storageFault(fs, { action: 'list', path: folder }, cause);
      }
    },
    link(from, to, { replace }) {
      return naming(`give ${from} the name`, to, () =>
        replace
          ? replaceBy(fs, to, (temporary) => addName(fs, from, temporary))
          : addName(fs, from, to),
      );
    },
    symlink(target, path, { replace }) {
      const way = isAbsolute(target) ? relative(dirname(path), target) : target;
      return naming(`make a link to ${way} at`, path, async () => {
        if (!replace) return fs.symlink(way, path);
        await replaceBy(fs, path, (temporary) => fs.symlink(way, temporary).then(() => true));
      });
    },
    remove(path) {
      return attempting(fs, { action: 'remove', path }, async () => {
        try {
          await fs.unlink(path);
        } catch (error) {
          if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false;
          throw error;
        }
        await fs.syncFolder(dirname(path));
        return true;
      });
    },
    rename(from, to) {
      const action = `move ${from} to`;
      return attempting(fs, { action, path: to }, async () => {
        await naming(action, to, () => moveName(fs, from, to));
        // Flushed after the new name, so that a power cut may leave both and never neither.
        if (dirname(from) !== dirname(to)) await fs.syncFolder(dirname(from));
      });
    },
    append(path, text) {
      return attempting(fs, { action: 'append to', path }, () =>
        folders.within(dirname(path), () => appendText(fs, path, text, wholeFiles)),
      );
    },
    prepare(folder) {
      return attempting(fs, { action: 'make files in', path: folder }, () =>
        folders.within(folder, () => tryFolder(fs, folder)),
      );
    },
    sweep(folder) {
      return attempting(fs, { action: 'sweep', path: folder }, () => sweepFolder(fs, folder));
    },
  };
}
