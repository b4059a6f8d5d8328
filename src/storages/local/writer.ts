import { dirname } from 'node:path';
import { StorageError } from '../../errors.ts';
import type { StorageWriter } from '../storage.ts';
import { kindOf, storageFault } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { moveToNewName } from './naming.ts';
import { temporaryBeside } from './path.ts';
import { writeAll } from './write-all.ts';

/**
 * Where a writer stands: bytes may come; they are flushed and closed, only the name is missing; the file
 * is under its name; it failed or was aborted.
 */
type Stage = 'open' | 'closed' | 'published' | 'discarded';

/** Starts a file beside `path`, whose folder is there. Throws the system's error when it cannot. */
export async function localWriter(fs: FileSystem, path: string): Promise<StorageWriter> {
  const temporary = temporaryBeside(path);
  const file = await fs.open(temporary, 'create');
  let stage: Stage = 'open';
  let sizeBytes = 0;
  let working: Promise<void> = Promise.resolve();

  function doing(
    action: string,
    allowed: readonly Stage[],
    work: () => Promise<void>,
  ): Promise<void> {
    working = attempt(action, allowed, work);
    return working;
  }

  /** When `work` fails, the temporary file goes, except that a name that is taken is no harm. */
  async function attempt(
    action: string,
    allowed: readonly Stage[],
    work: () => Promise<void>,
  ): Promise<void> {
    if (!allowed.includes(stage)) {
      throw new StorageError('Other', path, `Cannot ${action} ${path}: its writer is ${stage}.`);
    }
    try {
      await work();
    } catch (cause) {
      if (kindOf(cause) !== 'Conflict') await discard();
      // Made after the file has gone, so that the free space is what the next try will find.
      throw await storageFault(fs, { action, path, wantedBytes: sizeBytes }, cause);
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
    await fs.unlink(temporary).catch(() => {});
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
    publish({ replace }) {
      return doing('publish', ['open', 'closed'], async () => {
        if (stage === 'open') await finish();
        await (replace ? fs.rename(temporary, path) : moveToNewName(fs, temporary, path));
        stage = 'published';
        await fs.syncFolder(dirname(path));
      });
    },
    async abort() {
      await working.catch(() => {});
      working = discard();
      await working;
    },
  };
}
