import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

it('runs of the table, and some of any configuration, are resumed exactly from each of their checkpoints', () => {
  const args = ['--import', 'tsx', 'scripts/crash-resume.ts', '--json', '--runs', '12'];
  const output = execFileSync(process.execPath, [...args, '--seed', String(Date.now() % 1e9)], {
    encoding: 'utf8',
  });
  const result = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Record<string, number>;
  expect(result).toMatchObject({ runs: 12, equal: true });
  expect(result.resumes).toBeGreaterThan(500);
}, 600_000);
