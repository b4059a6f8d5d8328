import { createHash, randomBytes } from 'node:crypto';
import { type Owner, self } from './owner.ts';

/**
 * Names of files that are not there yet: `.highwater~<host>~<realm>~<pid>~<start>~<random>.tmp`. Hidden,
 * never a checkpoint's name, at most 140 bytes whatever the file will be called, and told apart from
 * anybody else's files, so that only what a writer left is ever swept.
 */
export function temporaryName(owner: Owner = self): string {
  const { host, realm, pid, startedAt } = owner;
  const random = randomBytes(6).toString('hex');
  return `.highwater~${host}~${realm}~${pid}~${startedAt}~${random}.tmp`;
}

/** The name that says "somebody is publishing `name` right now". One for each name, short, hidden. */
export function claimName(name: string): string {
  return `.highwater~claim~${createHash('sha256').update(name).digest('hex').slice(0, 32)}.tmp`;
}

/** Whether a name is one of those above, of whichever process. */
export function isTemporaryName(name: string): boolean {
  return name.startsWith('.highwater~') && name.endsWith('.tmp');
}

const OWNED = /^\.highwater~([\w.-]+)~([0-9a-f]*)~(\d{1,9})~(\d{1,15})~[0-9a-f]+\.tmp$/;

/** Whose temporary file this is; undefined when the name does not tell (a claim). */
export function ownerOf(name: string): Owner | undefined {
  const [, host, realm, pid, startedAt] = OWNED.exec(name) ?? [];
  if (host === undefined || realm === undefined) return undefined;
  return { host, realm, pid: Number(pid), startedAt: Number(startedAt) };
}
