import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from 'highwater';

/** The log of an attempt that was killed before its first save: a fresh start sets it aside. */
const SET_ASIDE = /\/metrics\.\d+\.csv$/;

/** What a run has left: every checkpoint and log, as far as two runs of the same bits agree in it. */
export type RunContent = ReadonlyMap<string, string>;

/** The whole of a finished run's folder, to be compared with that of another run in another folder. */
export async function contentOf(folder: string): Promise<RunContent> {
  const content = new Map<string, string>();
  for (const path of filesIn(folder).filter((name) => !SET_ASIDE.test(name))) {
    const file = join(folder, path);
    if (path.endsWith('.ckpt')) content.set(path, await checkpointContent(file, folder));
    else if (path.endsWith('.csv') || path.endsWith('.yaml'))
      content.set(path, readFileSync(file, 'utf8').replaceAll(folder, ''));
    else if (!path.startsWith('logs/') && !path.includes('.highwater/'))
      content.set(path, 'a stray file');
  }
  return content;
}

/**
 * Names of what differs, for a person. The files that a run was resumed from may be there although they are
 * not kept any more: nothing removes them.
 */
export function differences(
  expected: RunContent,
  found: RunContent,
  resumedFrom: ReadonlySet<string>,
): string[] {
  return [...new Set([...expected.keys(), ...found.keys()])]
    .filter((path) => expected.get(path) !== found.get(path))
    .filter((path) => expected.has(path) || !resumedFrom.has(path))
    .sort();
}

/** Every checkpoint that is visible: those that are damaged, and the newest step among the whole ones. */
export async function inspect(
  folder: string,
): Promise<{ readonly corrupt: readonly string[]; readonly newestStep: number }> {
  const corrupt: string[] = [];
  let newestStep = 0;
  for (const path of filesIn(folder).filter((name) => name.endsWith('.ckpt'))) {
    try {
      const checkpoint = await openCheckpoint(join(folder, path));
      await checkpoint.verify();
      newestStep = Math.max(newestStep, Number(checkpoint.document?.globalStep ?? 0));
    } catch (error) {
      corrupt.push(`${path}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return { corrupt, newestStep };
}

function filesIn(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .sort();
  } catch {
    return []; // Killed before it made its folder.
  }
}

/**
 * Every byte of the tensors, and all of the document but the folder and what depends on kills by intent: how many
 * saves there were, the clock, and what was removed with it (the file that a run was resumed from never is).
 */
async function checkpointContent(file: string, folder: string): Promise<string> {
  const checkpoint = await openCheckpoint(file);
  await checkpoint.verify();
  const { tensors } = checkpoint.index;
  const bytes = readFileSync(file);
  const described = tensors.map(({ group, name, dtype, shape, offset, sizeBytes }) => {
    const data = bytes.subarray(offset, offset + sizeBytes);
    return [group, name, dtype, shape, createHash('sha256').update(data).digest('hex')];
  });
  const text = JSON.stringify([described, checkpoint.document], (key, value) =>
    ['sequence', 'timerMs', 'removals'].includes(key) ? 0 : value,
  );
  return text.replaceAll(folder, '');
}
