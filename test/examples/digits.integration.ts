import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'highwater-digits-'));
afterAll(() => rmSync(root, { recursive: true }));

const node = (...args: string[]): string[] => ['--import', 'tsx', 'examples/digits.ts', ...args];
const digits = (...args: string[]): string =>
  execFileSync(process.execPath, node('--out', root, ...args), { encoding: 'utf8' });
const files = (): string[] =>
  readdirSync(join(root, 'checkpoints')).filter((name) => name.endsWith('.ckpt'));

/** Starts the example, sends a signal once it has printed its nth epoch; its exit code, or the signal. */
async function interrupted(signal: NodeJS.Signals, epochs: number): Promise<unknown> {
  const child = spawn(process.execPath, node('--out', root), { stdio: ['ignore', 'pipe', 'pipe'] });
  let seen = 0;
  child.stderr.on('data', (text: Buffer) => {
    seen += String(text).match(/^Epoch /gm)?.length ?? 0;
    if (seen >= epochs) child.kill(signal);
  });
  return await new Promise((resolve) =>
    child.on('close', (code, killedBy) => resolve(code ?? killedBy)),
  );
}

it('trains on real digits, goes on after kill -9 and Ctrl-C, and knows when it is done', async () => {
  expect(await interrupted('SIGKILL', 2)).toBe('SIGKILL');
  expect(files()).not.toEqual([]);
  expect(await interrupted('SIGINT', 1)).toBe(130);

  const output = digits();
  expect(output).toMatch(/^resumed from .*\.ckpt$/m);
  expect(files()).toHaveLength(4);
  const scores = [...output.matchAll(/ {2}(0\.\d{4})(?: \*)? +\d+ kB$/gm)].map(([, score]) =>
    Number(score),
  );
  expect(Math.max(...scores)).toBeGreaterThan(0.93);
  expect(output).toMatch(/^removed .*epoch=0-/m);

  expect(digits()).toMatch(/^resumed from .*; nothing left to train$/m);
}, 120_000);
