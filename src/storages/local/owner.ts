import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** The process that a temporary file belongs to, as its name tells. */
export interface Owner {
  /** The host's name, made of letters, digits, `.` and `-`. At most 64. */
  readonly host: string;
  /** Stands for the boot and the container (process namespace) in which `pid` counts; may be empty. */
  readonly realm: string;
  readonly pid: number;
  /** When the process started, in ticks since boot; 0 where the system does not tell. */
  readonly startedAt: number;
}

/** This process. Worker threads are the same one. */
export const self: Owner = {
  host: hostName(),
  realm: realm(),
  pid: process.pid,
  startedAt: processStatus(process.pid)?.startedAt ?? 0,
};

/**
 * Whether the owner still runs: by its number, and by its start where that is known, since numbers are
 * given again.
 *
 * @returns undefined when the owner cannot be seen from here: another host, boot or container.
 */
export function isRunning(owner: Owner): boolean | undefined {
  if (owner.host !== self.host || owner.realm !== self.realm) return undefined;
  if (!hasProcess(owner.pid)) return false;
  const found = processStatus(owner.pid);
  if (found === undefined) return true;
  return !found.hasEnded && (owner.startedAt === 0 || owner.startedAt === found.startedAt);
}

function hasProcess(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // Anything else (EPERM) says that it is there, and another user's.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

interface ProcessStatus {
  readonly startedAt: number;
  /** It has died, and only its parent has not asked how (a zombie). */
  readonly hasEnded: boolean;
}

/** From Linux's /proc; undefined elsewhere, or when another user's processes are hidden. */
function processStatus(pid: number): ProcessStatus | undefined {
  const text = fromSystem(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  // The second field is the command in brackets and may hold anything, brackets too.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const startedAt = Number(fields[19]);
  if (!Number.isSafeInteger(startedAt)) return undefined;
  return { startedAt, hasEnded: fields[0] === 'Z' || fields[0] === 'X' };
}

function realm(): string {
  const boot = fromSystem(() => readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
  const namespace = fromSystem(() => readlinkSync('/proc/self/ns/pid'));
  return boot === '' && namespace === '' ? '' : digest(`${boot} ${namespace}`).slice(0, 8);
}

function hostName(): string {
  const name = hostname();
  return /^[A-Za-z0-9.-]{1,64}$/.test(name) ? name : digest(name).slice(0, 32);
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function fromSystem(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
