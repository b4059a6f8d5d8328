import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';

// The tools are run, with the repo's own configuration, on a project whose pure folders are not pure.
const project = mkdtempSync(join(tmpdir(), 'highwater-impure-'));
const byType = [
  `import { readFileSync } from 'node:fs'; readFileSync('a');`,
  `process.exit();`,
  `Buffer.from([]);`,
  `setTimeout(() => {}, 1);`,
  `performance.now();`,
  `crypto.randomUUID();`,
  `console.log();`,
  `fetch('a').catch(() => {});`,
  `localStorage.clear();`,
];
const byLint = [
  `export const a = Date.now();`,
  `export const a = new Intl.Collator();`,
  `export const a = globalThis.Date.now();`,
  `export const a = Math.random();`,
];
const pure = `export const a = new URL(new TextDecoder().decode(new TextEncoder().encode('a:b')));`;
const files = new Map([
  ['src/format/pure.ts', pure],
  ['src/saving/impure.ts', byLint.map((line, i) => line.replace(' a ', ` a${i} `)).join('\n')],
  ...byType.map((text, i) => [`src/checkpoint/type-${i}.ts`, `export {};\n${text}`] as const),
  ...byLint.map((text, i) => [`src/format/lint-${i}.ts`, text] as const),
]);

beforeAll(() => {
  for (const [path, text] of files) {
    mkdirSync(join(project, path, '..'), { recursive: true });
    writeFileSync(join(project, path), `${text}\n`);
  }
  const settings = ['tsconfig.json', 'tsconfig.pure.json', 'tsconfig.pure.d.ts', 'biome.jsonc'];
  for (const name of [...settings, 'package.json']) cpSync(name, join(project, name));
  symlinkSync(resolve('node_modules'), join(project, 'node_modules'));
});
afterAll(() => rmSync(project, { recursive: true }));

/** The files in which a tool finds an error. */
function refused(tool: string, args: readonly string[], place: RegExp): string[] {
  const command = resolve('node_modules/.bin', tool);
  const { stdout } = spawnSync(command, args, { cwd: project, encoding: 'utf8' });
  return [...new Set(Array.from(stdout.matchAll(place), ([, file = '']) => file))].sort();
}

const starting = (start: string) => [...files.keys()].filter((file) => file.startsWith(start));

it('gives the pure folders no disk, process, timer or network', () => {
  const place = /^(src\/.+?)\(\d+,\d+\): error/gm;
  expect(refused('tsc', ['-p', 'tsconfig.pure.json'], place)).toEqual(starting('src/checkpoint'));
});

it('lets the pure folders read no clock, locale or chance', () => {
  const args = ['lint', '--vcs-enabled=false', '--reporter=github'];
  const place = /^::error title=lint\/\S+?,file=\S*\/(src\/[^,]+)/gm;
  expect(refused('biome', args, place)).toEqual(starting('src/format/lint'));
});
