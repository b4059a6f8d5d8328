import { Worker } from 'node:worker_threads';
import * as zlib from 'node:zlib';
import type { ByteRange } from '../storage.ts';

interface Answer {
  readonly id: number;
  readonly checksums?: readonly number[];
  readonly error?: string;
}

interface Request {
  resolve(checksums: readonly number[]): void;
  reject(error: Error): void;
}

/**
 * What the thread runs: it reads ranges of a file that this process has open, from the system's cache, piece
 * by piece. Plain JavaScript in a string, so that no bundler, loader or file layout can lose it.
 */
const SOURCE = `
const { readSync } = require('node:fs');
const { parentPort } = require('node:worker_threads');
const { crc32 } = require('node:zlib');

const piece = Buffer.allocUnsafeSlow(1 << 20);

function checksum(fd, { offset, length }) {
  let crc = 0;
  for (let done = 0; done < length; ) {
    const count = readSync(fd, piece, 0, Math.min(piece.length, length - done), offset + done);
    if (count === 0) throw new Error('the file ends at byte ' + (offset + done));
    crc = crc32(piece.subarray(0, count), crc);
    done += count;
  }
  return crc;
}

parentPort.on('message', ({ id, fd, ranges }) => {
  try {
    parentPort.postMessage({ id, checksums: ranges.map((range) => checksum(fd, range)) });
  } catch (error) {
    parentPort.postMessage({ id, error: String(error.message) });
  }
});
`;

/** Node has had `crc32` since 20.15; a process that may start no thread says so. */
export const canUseChecksumThread: boolean =
  typeof (zlib as { crc32?: unknown }).crc32 === 'function' &&
  ((process as { permission?: { has(scope: string): boolean } }).permission?.has('worker') ?? true);

const waiting = new Map<number, Request>();
let thread: Worker | undefined;
let lastId = 0;

/**
 * The CRC-32 of ranges of an open file, worked out on a thread of its own. The thread is started when it is
 * first needed, and does not keep the process alive.
 */
export function checksumsOf(fd: number, ranges: readonly ByteRange[]): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    thread ??= start();
    const id = ++lastId;
    if (waiting.size === 0) thread.ref();
    waiting.set(id, { resolve, reject });
    thread.postMessage({ id, fd, ranges });
  });
}

function start(): Worker {
  const worker = new Worker(SOURCE, { eval: true, name: 'highwater checksums', execArgv: [] });
  worker.unref();
  worker.on('message', ({ id, checksums, error }: Answer) => {
    const request = settle(id);
    if (checksums !== undefined) request?.resolve(checksums);
    else request?.reject(new Error(`cannot read back what was written: ${error}`));
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
