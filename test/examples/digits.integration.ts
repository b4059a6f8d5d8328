import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
async function interrupted(
  signal: NodeJS.Signals,
  epochs: number,
  { out = root, before = (): void => undefined } = {},
): Promise<{ readonly end: unknown; readonly output: string }> {
  const child = spawn(process.execPath, node('--out', out), { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let isSent = false;
  const read = (text: Buffer): void => {
    output += String(text);
    if (isSent || (output.match(/^Epoch /gm)?.length ?? 0) < epochs) return;
    isSent = true;
    before();
    child.kill(signal);
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const end = await new Promise((resolve) =>
    child.on('close', (code, killedBy) => resolve(code ?? killedBy)),
  );
  return { end, output };
}

it('trains on real digits, goes on after kill -9 and Ctrl-C, and knows when it is done', async () => {
  expect((await interrupted('SIGKILL', 2)).end).toBe('SIGKILL');
  expect(files()).not.toEqual([]);
  const { end, output: said } = await interrupted('SIGINT', 1);
  expect(end).toBe(130);
  expect(said).toContain('its state is saved. Go on with the same command.');

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

it('fails when it is asked to stop and cannot save, so that no scheduler starts it again', async () => {
  const out = join(root, 'cannot-save');
  const before = (): void => {
    rmSync(join(out, 'checkpoints'), { recursive: true });
    writeFileSync(join(out, 'checkpoints'), 'not a folder');
  };
  const { end, output } = await interrupted('SIGUSR1', 1, { out, before });
  expect(end, output).toBe(1);
  expect(output).toMatch(/Training was interrupted; saving its state failed: .*checkpoints/);
  expect(output).not.toContain('Go on with');
}, 120_000);
