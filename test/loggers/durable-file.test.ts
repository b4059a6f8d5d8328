import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemCalls } from '../support/system-calls.ts';

const WORK = `
import * as files from './src/loggers/durable-file.ts';

const [folder] = process.argv.slice(-1);
await files.replaceText(folder + '/a', 'abc');
await files.appendText(folder + '/a', 'def', true);
await files.appendText(folder + '/a', 'ghi', false);
await files.truncate(folder + '/a', 6);
await files.makeFolders(folder + '/x/y');
await files.makeNewFolder(folder + '/z');
await files.setAside(folder + '/a');
`;
const WATCHED = ['fdatasync', 'fsync', 'ftruncate', 'rename'];

it('flushes bytes before they get a name, and every change of a name or a size after it', async () => {
  const root = await mkdtemp(join(tmpdir(), 'highwater-durable-'));
  try {
    expect(await systemCalls(WORK, root, WATCHED)).toEqual([
      // A file is replaced: its bytes, its name, the folder's names.
      ...['fdatasync', 'rename', 'fsync'],
      // Text is added, durably; where it need not be, nothing.
      'fdatasync',
      ...['ftruncate', 'fsync'],
      // Two folders are made, the inner one's name first.
      ...['fsync', 'fsync'],
      'fsync',
      // A file is set aside.
      ...['rename', 'fsync'],
    ]);
  } finally {
    await rm(root, { recursive: true });
  }
});
