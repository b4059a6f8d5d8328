import type { Whereabouts } from '../checkpoint/folder.ts';

/** What relative paths and `~` mean in this process; a browser has neither. */
export function whereabouts(): Whereabouts {
  const { process } = globalThis as {
    process?: { cwd?(): string; env?: Record<string, string | undefined> };
  };
  return {
    cwd: process?.cwd?.() ?? '/',
    home: process?.env?.HOME ?? process?.env?.USERPROFILE,
  };
}
