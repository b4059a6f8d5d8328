import { dirname } from 'node:path';
import { StorageError } from '../../errors.ts';
import type { ByteRange, StorageWriter } from '../storage.ts';
import { kindOf, storageFault } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import type { Folders } from './folders.ts';
import { addName, giveNewName } from './naming.ts';
import { temporaryBeside } from './path.ts';
import { writeAll } from './write-all.ts';

/**
 * Where a writer stands: bytes may come; they are flushed and closed, only the name is missing; the file
 * is under its name; it failed or was aborted.
 */
type Stage = 'open' | 'closed' | 'published' | 'discarded';

/**
 * Starts a file beside `path`, whose folder is there. Throws the system's error when it cannot.
 * `expectedBytes` is how large it is going to be, for the message when there is no space.
 */
export async function localWriter(
  { fs, folders }: { readonly fs: FileSystem; readonly folders: Folders },
  path: string,
  expectedBytes = 0,
): Promise<StorageWriter> {
  const temporary = temporaryBeside(path);
  const file = await fs.open(temporary, 'create');
  let stage: Stage = 'open';
  let sizeBytes = 0;
  /** Folders that have got a name of it. */
  const changed = new Set<string>();
  /** Names that were free, and are again when nothing comes of it. */
  const added: string[] = [];
  /** What has spent the writer: whatever else is under way fails for the same reason. */
  let failing: Promise<StorageError> | undefined;
  let discarding: Promise<void> | undefined;
  let working: Promise<unknown> = Promise.resolve();
  /** Never rejects. The file stays open until nobody reads it any more. */
  let checked: Promise<unknown> = Promise.resolve();

  function doing<T>(
    action: string,
    allowed: readonly Stage[],
    work: () => Promise<T>,
    name = path,
  ): Promise<T> {
    const result = attempt(action, allowed, work, name);
    working = result;
    return result;
  }

  /** When `work` fails, the temporary file goes, except that a name that is taken is no harm. */
  async function attempt<T>(
    action: string,
    allowed: readonly Stage[],
    work: () => Promise<T>,
    name = path,
  ): Promise<T> {
    if (failing !== undefined) throw await failing;
    if (!allowed.includes(stage)) {
      throw new StorageError('Other', path, `Cannot ${action} ${path}: its writer is ${stage}.`);
    }
    try {
      return await work();
    } catch (cause) {
      const of = { action, path: name, wantedBytes: Math.max(sizeBytes, expectedBytes) };
      if (kindOf(cause) === 'Conflict') throw await storageFault(fs, of, cause);
      // Made after the file has gone, so that the free space is what the next try will find.
      failing ??= discard().then(() => storageFault(fs, of, cause));
      throw await failing;
    }
  }

  async function finish(): Promise<void> {
    await checked;
    await file.datasync();
    stage = 'closed';
    await file.close();
  }

  async function discard(): Promise<void> {
    if (stage === 'published') return;
    discarding ??= closeAndRemove(stage === 'open');
    await discarding;
  }

  async function closeAndRemove(isOpen: boolean): Promise<void> {
    stage = 'discarded';
    await checked;
    if (isOpen) await file.close().catch(() => {});
    for (const name of added) await removeName(name);
    await removeTemporary();
  }

  /** What stays in spite of a second try is swept later. */
  function removeTemporary(): Promise<void> {
    return removeName(temporary);
  }

  /** Never rejects: what stays does no harm. */
  async function removeName(name: string): Promise<void> {
    await fs.unlink(name).catch(() => fs.unlink(name).catch(() => {}));
  }

  return {
    write(views) {
      return doing('write', ['open'], async () => {
        const position = sizeBytes;
        for (const view of views) sizeBytes += view.byteLength;
        await writeAll(file, views, position);
      });
    },
    patch(offset, bytes) {
      return doing('write', ['open'], async () => {
        if (!(offset >= 0 && offset + bytes.byteLength <= sizeBytes)) {
          throw new RangeError(
            `bytes ${offset} to ${offset + bytes.byteLength} are not among the ${sizeBytes} written`,
          );
        }
        await writeAll(file, [bytes], offset);
      });
    },
    ...(file.checksums !== undefined && {
      checksums: (ranges: readonly ByteRange[]) =>
        attempt('write', ['open'], async () => {
          const checking = file.checksums?.(ranges) ?? Promise.resolve([]);
          checked = Promise.allSettled([checked, checking]);
          return await checking;
        }),
    }),
    link(to) {
      const work = async (): Promise<boolean> => {
        if (stage === 'open') await finish();
        const folder = dirname(to);
        const isGiven = await folders.within(folder, () => addName(fs, temporary, to));
        if (isGiven) changed.add(folder);
        if (isGiven) added.push(to);
        return isGiven;
      };
      return doing('publish', ['open', 'closed'], work, to);
    },
    publish({ replace }) {
      return doing('publish', ['open', 'closed'], async () => {
        if (stage === 'open') await finish();
        if (replace) await fs.rename(temporary, path);
        const hasTwoNames = !replace && (await giveNewName(fs, temporary, path));
        const flushes = [...changed.add(dirname(path))].map((folder) => fs.syncFolder(folder));
        await Promise.all([...flushes, hasTwoNames && removeTemporary()]);
        stage = 'published';
      });
    },
    async abort() {
      await working.catch(() => {});
      working = discard();
      await working;
    },
  };
}
