import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

it('nothing but a refusal or a sound run comes of hostile files, for half a minute', () => {
  const args = ['--import', 'tsx', 'scripts/fuzz.ts', '--json', '--seconds', '30'];
  const output = execFileSync(process.execPath, [...args, '--seed', String(Date.now() % 1e9)], {
    encoding: 'utf8',
  });
  const result = JSON.parse(output.trim().split('\n').at(-1) ?? '') as Record<string, number>;
  expect(result).toMatchObject({ problems: 0 });
  expect(result.damaged).toBeGreaterThan(100);
  expect(result.documents).toBeGreaterThan(100);
}, 120_000);
