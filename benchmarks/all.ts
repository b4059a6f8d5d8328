/**
 * The benchmarks that need neither a build nor MPI, one after the other, each in a process of its own:
 * `npm run bench -- all [--json]`.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

for (const name of ['save', 'load', 'train', 'scale', 'interop']) {
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url));
  const run = [...process.execArgv, file, ...process.argv.slice(2)];
  const { status } = spawnSync(process.execPath, run, { stdio: 'inherit' });
  if (status !== 0) process.exitCode = 1;
}
