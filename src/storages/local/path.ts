import { dirname } from 'node:path';
import { temporaryName } from './temporary-name.ts';

/** The path of `name` in `folder`, with `/` on every system. */
export function inside(folder: string, name: string): string {
  return folder.endsWith('/') ? folder + name : `${folder}/${name}`;
}

/** A new temporary path in the same folder, hence on the same file system, as `path`. */
export function temporaryBeside(path: string): string {
  return inside(dirname(path), temporaryName());
}
