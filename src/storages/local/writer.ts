import { dirname } from 'node:path';
import { StorageError } from '../../errors.ts';
import type { ByteRange, StorageWriter } from '../storage.ts';
import { kindOf, storageFault } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { giveNewName } from './naming.ts';
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
  fs: FileSystem,
  path: string,
  expectedBytes = 0,
): Promise<StorageWriter> {
  const temporary = temporaryBeside(path);
  const file = await fs.open(temporary, 'create');
  let stage: Stage = 'open';
  let sizeBytes = 0;
  let working: Promise<unknown> = Promise.resolve();

  function doing<T>(action: string, allowed: readonly Stage[], work: () => Promise<T>): Promise<T> {
    const result = attempt(action, allowed, work);
    working = result;
    return result;
  }

  /** When `work` fails, the temporary file goes, except that a name that is taken is no harm. */
  async function attempt<T>(
    action: string,
    allowed: readonly Stage[],
    work: () => Promise<T>,
  ): Promise<T> {
    if (!allowed.includes(stage)) {
      throw new StorageError('Other', path, `Cannot ${action} ${path}: its writer is ${stage}.`);
    }
    try {
      return await work();
    } catch (cause) {
      if (kindOf(cause) !== 'Conflict') await discard();
      // Made after the file has gone, so that the free space is what the next try will find.
      throw await storageFault(
        fs,
        { action, path, wantedBytes: Math.max(sizeBytes, expectedBytes) },
        cause,
      );
    }
  }

  async function finish(): Promise<void> {
    await file.datasync();
    stage = 'closed';
    await file.close();
  }

  async function discard(): Promise<void> {
    if (stage === 'published' || stage === 'discarded') return;
    const isOpen = stage === 'open';
    stage = 'discarded';
    if (isOpen) await file.close().catch(() => {});
    await removeTemporary();
  }

  /** Never rejects: what stays in spite of a second try does no harm, and is swept later. */
  async function removeTemporary(): Promise<void> {
    await fs.unlink(temporary).catch(() => fs.unlink(temporary).catch(() => {}));
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
    // Most of the flushing is done meanwhile; what is patched afterwards is flushed by `publish`.
    ...(file.checksums !== undefined && {
      checksums: (ranges: readonly ByteRange[]) =>
        doing('write', ['open'], async () => {
          const computing = file.checksums?.(ranges) ?? [];
          const [checksums] = await Promise.all([computing, file.datasync()]);
          return checksums;
        }),
    }),
    publish({ replace }) {
      return doing('publish', ['open', 'closed'], async () => {
        if (stage === 'open') await finish();
        if (replace) await fs.rename(temporary, path);
        const hasTwoNames = !replace && (await giveNewName(fs, temporary, path));
        stage = 'published';
        await Promise.all([fs.syncFolder(dirname(path)), hasTwoNames && removeTemporary()]);
      });
    },
    async abort() {
      await working.catch(() => {});
      working = discard();
      await working;
    },
  };
}
