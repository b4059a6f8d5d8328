import { mkdir, mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';

/** A new folder on the disk that holds the clone: `/tmp` may be memory. The caller removes it. */
export async function makeFolder(): Promise<string> {
  await mkdir('runs', { recursive: true });
  return await mkdtemp(join('runs', 'bench-'));
}
