import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'highwater-digits-jax-'));
afterAll(() => rmSync(root, { recursive: true }));

const digits = (out: string, epochs: number): string =>
  execFileSync(
    process.execPath,
    ['--import', 'tsx', 'examples/digits-jax.ts', '--out', out, '--epochs', String(epochs)],
    { encoding: 'utf8' },
  );
const best = (output: string): number =>
  Math.max(
    ...[...output.matchAll(/ {2}(0\.\d{4})(?: \*)? +\d+ kB$/gm)].map(([, score]) => Number(score)),
  );

it('passes 0.95 on real digits, and goes on when it is started again', () => {
  const first = digits(root, 3);
  expect(first).not.toMatch(/^resumed/m);
  const second = digits(root, 4);
  expect(second).toMatch(/^resumed from .*\.ckpt$/m);
  expect(best(second)).toBeGreaterThan(0.95);
  expect(digits(root, 4)).toMatch(/^resumed from .*; nothing left to train$/m);
}, 240_000);
