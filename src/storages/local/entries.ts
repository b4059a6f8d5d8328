import { dirname, resolve } from 'node:path';
import type { StorageEntry } from '../storage.ts';
import { codeOf } from './fault.ts';
import type { FileSystem } from './file-system.ts';
import { inside } from './path.ts';
import { isTemporaryName } from './temporary-name.ts';

/** How many entries are looked at together: a folder may hold 100,000. */
const AT_ONCE = 32;

/** What the path names, or undefined when nothing has that name. */
export async function entryAt(fs: FileSystem, path: string): Promise<StorageEntry | undefined> {
  try {
    const { kind, sizeBytes, modifiedAtMs } = await fs.lstat(path);
    if (kind !== 'link') return { path, kind, sizeBytes, modifiedAtMs };
    const target = resolve(dirname(path), await fs.readlink(path));
    return { path, kind, sizeBytes: await sizeBehind(fs, path), modifiedAtMs, target };
  } catch (error) {
    if (leadsNowhere(error)) return undefined;
    throw error;
  }
}

/** The entries directly inside a folder, without temporary files; none when there is no such folder. */
export async function* entriesOf(fs: FileSystem, folder: string): AsyncGenerator<StorageEntry> {
  let paths: string[] = [];
  for await (const name of namesOf(fs, folder)) {
    if (isTemporaryName(name)) continue;
    paths.push(inside(folder, name));
    if (paths.length < AT_ONCE) continue;
    yield* await entriesAt(fs, paths);
    paths = [];
  }
  yield* await entriesAt(fs, paths);
}

/** The names in a folder, of temporary files too; none when there is no such folder. */
export async function* namesOf(fs: FileSystem, folder: string): AsyncGenerator<string> {
  try {
    yield* fs.names(folder);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
}

async function entriesAt(fs: FileSystem, paths: readonly string[]): Promise<StorageEntry[]> {
  const entries = await Promise.all(paths.map((path) => entryAt(fs, path)));
  return entries.filter((entry) => entry !== undefined);
}

async function sizeBehind(fs: FileSystem, link: string): Promise<number> {
  try {
    return (await fs.stat(link)).sizeBytes;
  } catch (error) {
    if (leadsNowhere(error)) return 0;
    throw error;
  }
}

function leadsNowhere(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error) ?? '');
}
