import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

// The commands of the README, on the folder of the digits example, as it really trains.
const root = mkdtempSync(join(tmpdir(), 'highwater-readme-'));
const tsx = ['--import', import.meta.resolve('tsx')];

beforeAll(() => {
  const example = ['examples/digits.ts', '--out', join(root, 'runs/digits')];
  execFileSync(process.execPath, [...tsx, ...example], { stdio: 'pipe' });
});
afterAll(() => rmSync(root, { recursive: true }));

const section = /^## The `highwater` command\n.*?^```\n(.*?)^```$/ms.exec(
  readFileSync('README.md', 'utf8'),
);
const recorded = [...(section?.[1] ?? '').matchAll(/^\$ npx highwater (.*)\n([^$]*)/gm)].map(
  ([, line = '', output = '']) => [line, output] as const,
);

/** What does not depend on how well this machine trained, or when: line by line. */
function shape(output: string): readonly string[] {
  const masked = output
    .replace(/\d[\d,.]*\d(?:e[-+]\d+)?|\d/g, 'N')
    .replace(/N (?:s|min|h)\b/g, 'AGE')
    .replace(/N best/g, 'N')
    .replace(/ +/g, ' ');
  return masked
    .trim()
    .split('\n')
    .map((line) => line.trim());
}

/** What was printed, with `…` for as many lines as the README leaves out there. */
function shortened(printed: readonly string[], recorded: readonly string[]): readonly string[] {
  const cut = recorded.indexOf('…');
  if (cut === -1) return printed;
  return [...printed.slice(0, cut), '…', ...printed.slice(cut + 1 - recorded.length)];
}

/** The file of an epoch as this machine has named it: its score may be another. */
function namedHere(argument: string): string {
  const epoch = /epoch=\d+/.exec(argument)?.[0];
  if (epoch === undefined) return argument;
  const folder = 'runs/digits/checkpoints';
  const journal = readFileSync(join(root, folder, '.highwater/history.jsonl'), 'utf8');
  const name = new RegExp(`${epoch}-[^"/]*\\.ckpt`).exec(journal)?.[0];
  return join(folder, name ?? 'last.ckpt');
}

it('has recorded each command', () => {
  const names = recorded.map(([line]) => line.split(' ')[0]);
  const all = ['average', 'diff', 'export', 'import', 'ls', 'prune', 'show', 'verify', 'why'];
  expect([...new Set(names)].sort()).toEqual(all);
});

it.each(recorded)('prints what the README shows: highwater %s', (line, output) => {
  const words = line.match(/'[^']*'|\S+/g) ?? [];
  const args = words.map((word) => namedHere(word.replaceAll("'", '')));
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [...tsx, resolve('src/cli/main.ts'), ...args],
    {
      cwd: root,
      encoding: 'utf8',
    },
  );
  expect(stderr).toBe('');
  const wanted = shape(output);
  expect(shortened(shape(stdout), wanted)).toEqual(wanted);
});
