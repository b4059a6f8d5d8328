import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
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
  const trace = `${root}/trace.json`;
  const args = ['--import', 'tsx', '--input-type=module', '--trace-event-categories'];
  args.push('node.fs.async', '--trace-event-file-pattern', trace, '-e', WORK, root);
  execFileSync(process.execPath, args);
  const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as {
    readonly traceEvents: readonly { readonly ph: string; readonly name: string }[];
  };
  const calls = traceEvents.flatMap(({ ph, name }) =>
    ph === 'b' && WATCHED.includes(name) ? [name] : [],
  );
  // What comes before is the names of the folders above, and the file that tries out the folder.
  expect(calls.slice(calls.indexOf('fdatasync'))).toEqual(
    ['fdatasync', 'link', 'unlink', 'fsync'].concat(
      ['fdatasync', 'rename', 'fsync'],
      ['unlink', 'fsync'],
    ),
  );
});
