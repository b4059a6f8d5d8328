import { Worker } from 'node:worker_threads';
import { crc32Module } from '../../native-crc32.ts';
import type { ByteRange } from '../storage.ts';

interface Answer {
  readonly id: number;
  readonly checksums?: readonly number[];
  readonly error?: { readonly message: string; readonly code?: string };
}

interface Request {
  readonly fd: number;
  /** Whether it flushes the file besides. */
  readonly flushes: boolean;
  resolve(checksums: readonly number[]): void;
  reject(error: Error): void;
}

/**
 * What the thread runs: it reads ranges of a file that this process has open, from the system's cache, piece by
 * piece, so that each piece is still in the processor's cache when its checksum is taken. Plain JavaScript in a
 * string, so that no bundler, loader or file layout can lose it.
 */
const SOURCE = `
const { fdatasync, readSync } = require('node:fs');
const { promisify } = require('node:util');
const { parentPort, workerData } = require('node:worker_threads');
const { crc32 } = require(workerData.crc32Module);

const piece = Buffer.allocUnsafeSlow(1 << 18);

function checksumOf(fd, offset, length) {
  let checksum = 0;
  for (let done = 0; done < length; ) {
    const count = readSync(fd, piece, 0, Math.min(piece.length, length - done), offset + done);
    if (count === 0) throw new Error('the file ends at byte ' + (offset + done));
    checksum = crc32(piece.subarray(0, count), checksum);
    done += count;
  }
  return checksum;
}

async function checksumsOf(fd, ranges) {
  const checksums = [];
  for (let i = 0; i < ranges.length; i += 2) checksums.push(checksumOf(fd, ranges[i], ranges[i + 1]));
  return checksums;
}

parentPort.on('message', async ({ id, fd, ranges, flushes }) => {
  try {
    const flushing = flushes ? promisify(fdatasync)(fd) : undefined;
    // Neither goes on when this is answered: the file may be closed then.
    const [checksums, flushed] = await Promise.allSettled([checksumsOf(fd, ranges), flushing]);
    for (const { status, reason } of [flushed, checksums]) if (status === 'rejected') throw reason;
    parentPort.postMessage({ id, checksums: checksums.value });
  } catch ({ message, code }) {
    parentPort.postMessage({ id, error: { message, code } });
  }
});
`;

/** A process that may start no thread says so. */
export const canUseChecksumThread: boolean =
  crc32Module !== undefined &&
  ((process as { permission?: { has(scope: string): boolean } }).permission?.has('worker') ?? true);

const waiting = new Map<number, Request>();
let thread: Worker | undefined;
let lastId = 0;

/**
 * The CRC-32 of ranges of an open file, worked out on a thread of its own; what has been written by now is flushed
 * meanwhile, by one request for a file at a time. The thread is started when it is first needed, and does not keep
 * the process alive.
 */
export async function checksumsOf(
  fd: number,
  ranges: readonly ByteRange[],
): Promise<readonly number[]> {
  try {
    return await new Promise((resolve, reject) => {
      thread ??= start();
      const id = ++lastId;
      if (waiting.size === 0) thread.ref();
      const flushes = ![...waiting.values()].some((other) => other.flushes && other.fd === fd);
      waiting.set(id, { fd, flushes, resolve, reject });
      // Plain numbers, of which a copy is cheap.
      const flat = ranges.flatMap(({ offset, length }) => [offset, length]);
      thread.postMessage({ id, fd, ranges: flat, flushes });
    });
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException;
    const error = new Error(`cannot flush and read back what was written: ${message}`, { cause });
    throw Object.assign(error, { code });
  }
}

function start(): Worker {
  const worker = new Worker(SOURCE, {
    eval: true,
    name: 'highwater checksums',
    execArgv: [],
    workerData: { crc32Module },
  });
  worker.unref();
  worker.on('message', ({ id, checksums, error }: Answer) => {
    const request = settle(id);
    if (checksums !== undefined) request?.resolve(checksums);
    else request?.reject(Object.assign(new Error(error?.message), { code: error?.code }));
  });
  const lose = (cause: Error): void => {
    if (thread === worker) thread = undefined;
    for (const id of [...waiting.keys()]) settle(id)?.reject(cause);
  };
  worker.on('error', lose);
  worker.on('exit', () => lose(new Error('the thread that computes checksums has ended')));
  return worker;
}

function settle(id: number): Request | undefined {
  const request = waiting.get(id);
  waiting.delete(id);
  if (waiting.size === 0) thread?.unref();
  return request;
}
