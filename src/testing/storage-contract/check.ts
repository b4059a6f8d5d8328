import assert from 'node:assert/strict';
import { StorageError, type StorageErrorKind } from '../../errors.ts';
import type { Storage } from '../../storages/storage.ts';

/** One storage, fresh for one test. */
export interface StorageUnderTest {
  readonly storage: Storage;
  /** An absolute path below which the test may do as it likes: a folder that is empty or not there. */
  readonly root: string;
  /** False where a folder is only the beginning of names (object storage). Default: true. */
  readonly hasFolders?: boolean;
  /** Called at the end of the test, whether it passed or not. */
  dispose?(): Promise<void>;
}

/** Registers one test. */
export type Check = (sentence: string, body: (made: StorageUnderTest) => Promise<void>) => unknown;

/** Publishes `text` under a name that must be free. */
export async function publish(storage: Storage, path: string, text: string): Promise<void> {
  const writer = await storage.writer(path);
  await writer.write([bytesOf(text)]);
  await writer.publish({ replace: false });
}

/** What a file holds, as text. */
export async function textOf(storage: Storage, path: string): Promise<string> {
  return new TextDecoder().decode(await storage.read(path));
}

export function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The paths in a folder, sorted. */
export async function pathsIn(storage: Storage, folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const { path } of storage.list(folder)) paths.push(path);
  return paths.sort();
}

/** Asserts that `work` fails as `kind`, with an error that names the path and tells something. */
export async function fails(kind: StorageErrorKind, work: () => Promise<unknown>): Promise<void> {
  await assert.rejects(work, (error: unknown) => {
    assert.ok(error instanceof StorageError, `not a StorageError: ${String(error)}`);
    assert.equal(error.kind, kind, error.message);
    assert.equal(error.code, `STORAGE_${kind.toUpperCase()}`);
    assert.ok(error.message.includes(error.path), 'the message names the path');
    return true;
  });
}
