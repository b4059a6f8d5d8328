import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import * as zlib from 'node:zlib';
import type { ByteRange, CheckedBytes } from '../storage.ts';

/** Loading a file scales with the cores up to here: beyond, memory is what it waits for. */
const MAX_THREADS = Math.min(4, Math.max(2, availableParallelism()));

/** What a thread is asked: the checksum of each range, and whether their bytes are wanted too. */
interface Question {
  readonly fd: number;
  readonly ranges: readonly ByteRange[];
  readonly withBytes: boolean;
}

interface Answer {
  readonly id: number;
  readonly found?: readonly { readonly checksum: number; readonly buffer?: ArrayBuffer }[];
  readonly error?: { readonly message: string; readonly code?: string };
}

interface Request {
  resolve(found: NonNullable<Answer['found']>): void;
  reject(error: Error): void;
}

/**
 * What a thread runs: it reads ranges of a file that this process has open, piece by piece, so that each
 * piece is still in the processor's cache when its checksum is taken. Bytes that are wanted are handed over
 * without a copy. Plain JavaScript in a string, so that no bundler, loader or file layout can lose it.
 */
const SOURCE = `
const { readSync } = require('node:fs');
const { parentPort } = require('node:worker_threads');
const { crc32 } = require('node:zlib');

const PIECE_BYTES = 1 << 20;
const scratch = Buffer.allocUnsafeSlow(PIECE_BYTES);

function look(fd, { offset, length }, withBytes) {
  const buffer = withBytes ? new ArrayBuffer(length) : undefined;
  let checksum = 0;
  for (let done = 0; done < length; ) {
    const wanted = Math.min(PIECE_BYTES, length - done);
    const piece = buffer ? new Uint8Array(buffer, done, wanted) : scratch.subarray(0, wanted);
    const count = readSync(fd, piece, 0, wanted, offset + done);
    if (count === 0) throw new Error('the file ends at byte ' + (offset + done));
    checksum = crc32(piece.subarray(0, count), checksum);
    done += count;
  }
  return { checksum, buffer };
}

parentPort.on('message', ({ id, fd, ranges, withBytes }) => {
  try {
    const found = ranges.map((range) => look(fd, range, withBytes));
    parentPort.postMessage({ id, found }, withBytes ? found.map(({ buffer }) => buffer) : []);
  } catch ({ message, code }) {
    parentPort.postMessage({ id, error: { message, code } });
  }
});
`;

/** Node has had `crc32` since 20.15; a process that may start no thread says so. */
export const canUseChecksumThreads: boolean =
  typeof (zlib as { crc32?: unknown }).crc32 === 'function' &&
  ((process as { permission?: { has(scope: string): boolean } }).permission?.has('worker') ?? true);

/** The CRC-32 of ranges of an open file, worked out on a thread of its own. */
export async function checksumsOf(
  fd: number,
  ranges: readonly ByteRange[],
): Promise<readonly number[]> {
  try {
    const found = await idlestThread().ask({ fd, ranges, withBytes: false });
    return found.map(({ checksum }) => checksum);
  } catch (cause) {
    throw new Error(`cannot read back what was written: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Reads ranges of an open file with the CRC-32 of each, on as many threads as help, and gives them to
 * `each` as they come, in no order. Each range must lie within the file.
 */
export async function readChecked(
  fd: number,
  ranges: readonly ByteRange[],
  each: (index: number, found: CheckedBytes) => void,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < ranges.length; i = next++) {
      const range = ranges[i] as ByteRange;
      const [found] = await idlestThread().ask({ fd, ranges: [range], withBytes: true });
      if (found?.buffer === undefined) throw new Error('a thread gave no bytes');
      each(i, { bytes: new Uint8Array(found.buffer), checksum: found.checksum });
    }
  };
  // Two for each thread, so that none waits for this one to hand it the next.
  const workers = Array.from({ length: Math.min(2 * MAX_THREADS, ranges.length) }, work);
  const failed = (await Promise.allSettled(workers)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
}

interface Thread {
  /** How many questions it has not answered. */
  waiting(): number;
  ask(question: Question): Promise<NonNullable<Answer['found']>>;
}

/** They are started when first needed, stay, and do not keep the process alive. */
const threads = new Set<Thread>();

/** One that has nothing to do, a new one while there may be more, else the one with the least to do. */
function idlestThread(): Thread {
  let idlest: Thread | undefined;
  for (const thread of threads) {
    if (idlest === undefined || thread.waiting() < idlest.waiting()) idlest = thread;
  }
  if (idlest === undefined || (idlest.waiting() > 0 && threads.size < MAX_THREADS)) return start();
  return idlest;
}

function start(): Thread {
  const worker = new Worker(SOURCE, { eval: true, name: 'highwater checksums', execArgv: [] });
  const requests = new Map<number, Request>();
  let lastId = 0;

  function settle(id: number): Request | undefined {
    const request = requests.get(id);
    requests.delete(id);
    if (requests.size === 0) worker.unref();
    return request;
  }
  function lose(cause: Error): void {
    threads.delete(thread);
    for (const id of [...requests.keys()]) settle(id)?.reject(cause);
  }

  const thread: Thread = {
    waiting: () => requests.size,
    ask: (question) =>
      new Promise((resolve, reject) => {
        if (requests.size === 0) worker.ref();
        requests.set(++lastId, { resolve, reject });
        worker.postMessage({ id: lastId, ...question });
      }),
  };
  worker.unref();
  worker.on('message', ({ id, found, error }: Answer) => {
    const request = settle(id);
    if (found !== undefined) request?.resolve(found);
    else request?.reject(Object.assign(new Error(error?.message), { code: error?.code }));
  });
  worker.on('error', lose);
  worker.on('exit', () => lose(new Error('the thread that computes checksums has ended')));
  threads.add(thread);
  return thread;
}
