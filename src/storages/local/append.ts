import type { FileSystem, OpenFile } from './file-system.ts';
import { writeAll } from './write-all.ts';

const LINE_FEED = 10;

/**
 * Appends lines in one write, so that those of several processes stand one below the other.
 *
 * @param whole the files whose last line is known to be whole, which this one is afterwards.
 */
export async function appendText(
  fs: FileSystem,
  path: string,
  text: string,
  whole: Set<string>,
): Promise<void> {
  const file = await fs.open(path, 'append');
  const isWhole = whole.delete(path);
  try {
    const start = isWhole || (await endsWithLine(file)) ? '' : '\n';
    await writeAll(file, [new TextEncoder().encode(start + text)], undefined);
    whole.add(path);
  } finally {
    await file.close();
  }
}

async function endsWithLine(file: OpenFile): Promise<boolean> {
  const { sizeBytes } = await file.status();
  const last = new Uint8Array([LINE_FEED]);
  if (sizeBytes > 0) await file.read(last, sizeBytes - 1);
  return last[0] === LINE_FEED;
}
