import { relative } from 'node:path';
import { printable } from './render.ts';

/** A path as people see it: relative to the working folder when it is in it, else as it is. */
export function shownPath(path: string): string {
  const fromHere = relative('.', path);
  const isShorter = !fromHere.startsWith('..') && fromHere.length < path.length;
  return printable(isShorter ? fromHere || '.' : path);
}
