import { expect, it } from 'vitest';
import type { FileSystem } from '../../src/storages/local/file-system.ts';
import { localFiles } from '../../src/storages/local.ts';
import type { StorageWriter } from '../../src/storages/storage.ts';
import { systemError } from '../storages/observed-file-system.ts';
import { FolderNode } from './model/disk.ts';
import { modelFiles } from './model/model-files.ts';

const TURNS = 30;

/** What comes of publishing under one name, the second `turns` calls of the system behind the first. */
async function race(withoutLinks: boolean, turns: number): Promise<string[]> {
  const model = modelFiles(new FolderNode(0));
  const noLinks = (): Promise<never> => Promise.reject(systemError('EPERM'));
  const fs: FileSystem = withoutLinks ? { ...model, link: noLinks } : model;
  const writers: StorageWriter[] = [];
  for (const text of ['first', 'second']) {
    const writer = await localFiles({ fs }).writer('/f/a');
    await writer.write([new TextEncoder().encode(text)]);
    writers.push(writer);
  }
  const outcomes = await Promise.all(
    writers.map(async (writer, i) => {
      for (let turn = 0; turn < i * turns; turn++) await undefined;
      return await writer.publish({ replace: false }).then(
        () => 'won',
        (error: { kind?: string }) => String(error.kind),
      );
    }),
  );
  const holds = new TextDecoder().decode(await localFiles({ fs }).read('/f/a'));
  return [...outcomes, holds];
}

it.each([
  ['', false],
  [' without hard links', true],
])('of two writers exactly one gets a name, however they meet%s', async (_, withoutLinks) => {
  for (let turns = 0; turns <= TURNS; turns++) {
    expect([
      ['won', 'Conflict', 'first'],
      ['Conflict', 'won', 'second'],
    ]).toContainEqual(await race(withoutLinks, turns));
  }
});
