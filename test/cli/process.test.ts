import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { f32, temporaryFolder, train, writeForeign } from '../inspection/runs.ts';

// The program as a process of its own, from its source.
const root = temporaryFolder();
const node = ['--import', import.meta.resolve('tsx'), resolve('src/cli/main.ts')];
const highwater = (...args: string[]) =>
  spawnSync(process.execPath, [...node, ...args], { encoding: 'utf8', cwd: root });

beforeAll(async () => {
  await train(join(root, 'run'), [0.5, 0.25], { saveTopK: 2 });
});

it('is a process with results on standard output, messages on the other, and an exit code', () => {
  const { stdout, stderr, status } = highwater('ls', 'run');
  expect(stdout).toMatch(/^run {2}2 checkpoints, /);
  expect([stderr, status]).toEqual(['', 0]);
  const missing = highwater('ls', 'nothing');
  expect([missing.stdout, missing.status]).toEqual(['', 2]);
  expect(missing.stderr).toMatch(/^highwater: There is no folder '.*nothing'\.\n$/);
});

it('prints no colours into a pipe', () => {
  expect(highwater('ls', 'run').stdout).not.toContain('\x1b');
});

it('ends quietly when nobody reads on, as before `| head -1`', async () => {
  // More than a pipe takes at once, so that the program is still printing when its reader goes.
  mkdirSync(join(root, 'many'));
  for (let i = 0; i < 3000; i++) {
    writeForeign(join(root, 'many', `${i}.safetensors`), [f32('w', [i])]);
  }
  const child = spawn(process.execPath, [...node, 'ls', 'many'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stderr = '';
  child.stderr.on('data', (text: Buffer) => {
    stderr += String(text);
  });
  child.stdout.once('data', () => child.stdout.destroy());
  const code = await new Promise((done) => child.on('close', done));
  expect([stderr, code]).toEqual(['', 0]);
});
