import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

it.each([
  ['SIGKILL', 25],
  ['SIGTERM', 5],
  ['SIGINT', 5],
])(
  'a run that %s ends %i times leaves the same bits as one that nothing ends',
  (signal, kills) => {
    const args = ['--import', 'tsx', 'scripts/crash.ts', '--json', '--signal', signal];
    const output = execFileSync(process.execPath, [...args, '--kills', String(kills)], {
      encoding: 'utf8',
    });
    const result: unknown = JSON.parse(output.trim().split('\n').at(-1) ?? '');
    expect(result).toMatchObject({ kills, equal: true, lost: 0, corruptVisible: 0 });
  },
  300_000,
);
