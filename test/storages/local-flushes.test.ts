import { expect, it } from 'vitest';
import { systemCalls } from '../support/system-calls.ts';
import { newFolder } from './local-folder.ts';

const WORK = `
import { localFiles } from './src/storages/local.ts';

const [folder] = process.argv.slice(-1);
const storage = localFiles();
await storage.prepare(folder);
for (const replace of [false, true]) {
  const writer = await storage.writer(folder + '/a');
  await writer.write([new Uint8Array(3)]);
  await writer.publish({ replace });
}
await storage.remove(folder + '/a');
`;
const WATCHED = ['fdatasync', 'fsync', 'link', 'rename', 'unlink'];

it('asks the operating system to flush the bytes of a file, then the names in its folder', async () => {
  const root = await newFolder();
  const calls = await systemCalls(WORK, root, WATCHED);
  // What comes before is the names of the folders above, and the file that tries out the folder.
  expect(calls.slice(calls.indexOf('fdatasync'))).toEqual(
    ['fdatasync', 'link', 'unlink', 'fsync'].concat(
      ['fdatasync', 'rename', 'fsync'],
      ['unlink', 'fsync'],
    ),
  );
});
