/**
 * Takes every flush, every atomic change of a name and every order that something relies on out of a copy of the
 * sources, one at a time, and shows that the tests notice: `npm run crash:mutants -- [--only TEXT]
 * [--every N] [--json]`. `--every 4` tries each fourth. Exit code 1 when one goes unnoticed, when a text to
 * replace is not there any more, or when the sources flush or move something that no mutant takes away.
 */
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { exempt, type Mutant, mutants } from './crash/mutants.ts';

const COPIED = ['src', 'test', 'scripts', 'package.json', 'tsconfig.json', 'vitest.config.ts'];
const FLUSH_OR_MOVE =
  /(?:\b(?:file|folder|fs|handle)\.|await )(?:datasync|syncFolder|sync|rename|link)\(/g;
const SEARCHED = [
  'src/loggers/durable-file.ts',
  'src/storages/local.ts',
  ...readdirSync('src/storages/local').map((name) => `src/storages/local/${name}`),
];
/** A workload that takes so long has hung: noticed, too. */
const LIMIT_MS = 120_000;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    every: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const every = Number(values.every);
const chosen = mutants.filter(({ name }, i) => i % every === 0 && name.includes(values.only));
if (chosen.length === 0) {
  console.error('usage: npm run crash:mutants -- [--only TEXT] [--every N] [--json]');
  process.exit(2);
}

const WIDTH = Math.max(...chosen.map(({ name }) => name.length));
const problems = [...mutants.flatMap(misplaced), ...SEARCHED.flatMap(forgotten)];
const copy = mkdtempSync(join(tmpdir(), 'highwater-mutants-'));
for (const name of COPIED) cpSync(name, join(copy, name), { recursive: true });
symlinkSync(join(process.cwd(), 'node_modules'), join(copy, 'node_modules'));

const began = performance.now();
let noticed = 0;
try {
  for (const test of new Set([undefined, ...chosen.map((mutant) => mutant.test)])) {
    const failure = failureOf({ test });
    if (failure !== undefined) problems.push(`the sources as they are fail: ${failure}`);
  }
  for (const mutant of problems.length === 0 ? chosen : []) {
    const { name, file, find, replace } = mutant;
    const text = readFileSync(file, 'utf8');
    writeFileSync(
      join(copy, file),
      text.replace(find, () => replace),
    );
    const failure = failureOf({ ...mutant, test: mutant.test });
    writeFileSync(join(copy, file), text);
    if (failure === undefined) problems.push(`nobody notices that ${name}`);
    else noticed += 1;
    if (!values.json) console.log(`${name.padEnd(WIDTH)}  ${failure ?? 'NOT NOTICED'}`);
  }
} finally {
  rmSync(copy, { recursive: true });
}
for (const problem of problems) console.error(problem);
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
const result = { mutants: chosen.length, noticed, problems: problems.length, seconds };
console.log(
  values.json ? JSON.stringify(result) : `${noticed} of ${chosen.length} noticed, ${seconds} s`,
);
process.exitCode = problems.length === 0 ? 0 : 1;

/** What fails in the copy; undefined when nothing does. */
function failureOf({
  test,
  workloads = [],
  cuts = 1,
}: {
  readonly test: string | undefined;
  readonly workloads?: readonly string[];
  readonly cuts?: number;
}): string | undefined {
  const ofModel = ['scripts/crash-model.ts', '--bail', '--cuts', String(cuts)].concat(
    workloads.flatMap((name) => ['--workload', name]),
  );
  const args =
    test === undefined
      ? ['--import', 'tsx', ...ofModel]
      : ['node_modules/vitest/vitest.mjs', 'run', test];
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: copy,
    encoding: 'utf8',
    timeout: LIMIT_MS,
    env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
  });
  if (status === 0) return undefined;
  if (signal !== null) return `it hangs (${signal})`;
  const broken = /^[\w-]+: .*$/m.exec(stderr)?.[0] ?? /FAIL +(.*)/.exec(`${stdout}${stderr}`)?.[1];
  return broken ?? `it ends with ${status}: ${stderr.trim().split('\n').at(-1)}`;
}

/** A mutant whose text is not there exactly once. */
function misplaced({ name, file, find }: Mutant): string[] {
  const count = readFileSync(file, 'utf8').split(find).length - 1;
  return count === 1 ? [] : [`'${name}': its text is ${count} times in ${file}`];
}

/** Flushes and renames that no mutant takes away. */
function forgotten(file: string): string[] {
  const text = readFileSync(file, 'utf8');
  const covered = [...mutants, ...exempt]
    .filter((place) => place.file === file)
    .map(({ find }) => ({ start: text.indexOf(find), end: text.indexOf(find) + find.length }));
  return [...text.matchAll(FLUSH_OR_MOVE)]
    .filter(({ index }) => !covered.some(({ start, end }) => index >= start && index < end))
    .map(({ 0: call, index }) => {
      const line = text.slice(0, index).split('\n').length;
      return `no mutant takes away '${call}…)' in ${file}:${line}`;
    });
}
