import { encodeJson } from '../format/json.ts';
import type { Storage } from '../storages/storage.ts';
import type { JournalLine } from './save-job.ts';
import { writeFile } from './write-file.ts';

/** Above this size a journal is trimmed to its newest half, in bytes. */
const MAX_BYTES = 4 * 1024 * 1024;

/** The folder of a journal, in that of the checkpoints. */
export const JOURNAL_FOLDER = '.highwater';

/** Where the journal of a checkpoint folder lies. */
export function journalPath(folder: string): string {
  return `${folder}/${JOURNAL_FOLDER}/history.jsonl`;
}

/** Appends what was decided, with the time (`at`, ISO, UTC). A journal that cannot be written loses nothing else, so it fails nobody. */
export async function appendJournal(
  storage: Storage,
  lines: readonly JournalLine[],
): Promise<void> {
  const texts = new Map<string, string>();
  const at = new Date().toISOString();
  for (const { folder, line } of lines) {
    texts.set(folder, `${texts.get(folder) ?? ''}${encodeJson({ at, ...line })}\n`);
  }
  for (const [folder, text] of texts) {
    try {
      await storage.append(journalPath(folder), text);
    } catch {
      // For people who look back; the checkpoints themselves are safe, and say so on their own.
      return;
    }
  }
}

/** Drops the older half of a journal that has grown too long. Called once per run. */
export async function trimJournal(storage: Storage, folder: string): Promise<void> {
  const path = journalPath(folder);
  const entry = await storage.stat(path);
  if (entry === undefined || entry.sizeBytes <= MAX_BYTES) return;
  const half = Math.floor(MAX_BYTES / 2);
  const tail = await storage.read(path, { offset: entry.sizeBytes - half, length: half });
  const whole = tail.subarray(tail.indexOf(0x0a) + 1);
  await writeFile(storage, path, { replace: true }, (writer) => writer.write([whole]));
}
