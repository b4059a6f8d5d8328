import { execFileSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/**
 * What a script asks the operating system for, in order: the calls among `watched`, by their names in Node's
 * trace. It runs in a process of its own, as an ES module with the project's root as its folder and `folder`
 * as its last argument; its trace lies there too.
 */
export async function systemCalls(
  script: string,
  folder: string,
  watched: readonly string[],
): Promise<readonly string[]> {
  const trace = `${folder}/trace.json`;
  const args = ['--import', 'tsx', '--input-type=module', '--trace-event-categories'];
  args.push('node.fs.async', '--trace-event-file-pattern', trace, '-e', script, folder);
  execFileSync(process.execPath, args);
  const { traceEvents } = JSON.parse(await readFile(trace, 'utf8')) as {
    readonly traceEvents: readonly { readonly ph: string; readonly name: string }[];
  };
  return traceEvents.flatMap(({ ph, name }) =>
    ph === 'b' && watched.includes(name) ? [name] : [],
  );
}
