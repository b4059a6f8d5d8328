import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { openCheckpoint } from 'highwater';

/** The log of an attempt that was killed before its first save: a fresh start sets it aside. */
const SET_ASIDE = /\/metrics\.\d+\.csv$/;

/** What a run has left: every checkpoint and log, as far as two runs of the same bits agree in it. */
export type RunContent = ReadonlyMap<string, string>;

/** The whole of a finished run's folder, to be compared. */
export async function contentOf(folder: string): Promise<RunContent> {
  const content = new Map<string, string>();
  for (const path of filesIn(folder).filter((name) => !SET_ASIDE.test(name))) {
    const file = join(folder, path);
    if (path.endsWith('.ckpt')) content.set(path, await checkpointContent(file));
    else if (path.endsWith('.csv') || path.endsWith('.yaml'))
      content.set(path, readFileSync(file, 'utf8'));
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
 * All tensors by their checksums, and all of the document but what depends on kills by intent: how many saves
 * there were, the clock, and what was removed with it (the file that a run was resumed from never is).
 */
async function checkpointContent(file: string): Promise<string> {
  const checkpoint = await openCheckpoint(file);
  await checkpoint.verify();
  const tensors = checkpoint.index.tensors.map(({ group, name, shape, checksum }) => [
    group,
    name,
    shape,
    checksum,
  ]);
  return JSON.stringify([tensors, checkpoint.document], (key, value) =>
    ['sequence', 'timerMs', 'removals'].includes(key) ? 0 : value,
  );
}
