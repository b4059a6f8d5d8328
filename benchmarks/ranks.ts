/**
 * What ranks cost and bring, on two of this machine: `npm run bench -- ranks [--mpi openmpi|mpich] [--json]`.
 * The all-reduce is compared with the same in C, which needs `mpicc` (Debian: libopenmpi-dev or libmpich-dev).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LAUNCH_ENV, launchCommand, type Mpi } from '../examples/digits-mpi/launch.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(5);
const SIZES_MB = ['1', '4', '16', '64'];
const STEPS = 150;
const at = process.argv.indexOf('--mpi');
const mpi = (at < 0 ? 'openmpi' : process.argv[at + 1]) as Mpi;

const folder = mkdtempSync(join(tmpdir(), 'highwater-ranks-'));
const place = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** What rank 0 of a job printed. */
function launched(ranks: number, program: readonly string[], isNode: boolean): string {
  const [command = '', ...args] = launchCommand(mpi, ranks, program);
  const rest = isNode ? args : args.filter((each) => each !== process.execPath);
  const env = { ...process.env, ...LAUNCH_ENV };
  return execFileSync(command, rest, {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** A rank's program in TypeScript. */
function highwater(ranks: number, ...args: string[]): string {
  const program = [...process.execArgv, place('./support/ranks-program.ts'), ...args];
  return launched(ranks, program, true);
}

/** Seconds by size, as both programs print them. */
function secondsIn(output: string): ReadonlyMap<string, number> {
  const lines = output.trim().split('\n');
  return new Map(
    lines.map((line) => line.split(' ') as [string, string]).map(([mb, s]) => [mb, Number(s)]),
  );
}

/** The program in C; undefined when there is no compiler for it. */
function compiled(): string | undefined {
  const program = join(folder, 'allreduce');
  for (const compiler of [`mpicc.${mpi}`, 'mpicc']) {
    const args = ['-O2', '-o', program, place('./support/allreduce.c')];
    if (spawnSync(compiler, args, { stdio: 'ignore' }).status === 0) return program;
  }
  note(`no mpicc for ${mpi}: the all-reduce is not compared with C`);
  return undefined;
}

const peer = compiled();
const sums: { ours: ReadonlyMap<string, number>; c: ReadonlyMap<string, number> }[] = [];
const runs: { one: { plain: number }; two: { plain: number; deciding: number } }[] = [];
for (let i = 0; i < ROUNDS; i++) {
  const ours = secondsIn(highwater(2, 'allreduce', ...SIZES_MB));
  const c = peer === undefined ? new Map() : secondsIn(launched(2, [peer, ...SIZES_MB], false));
  sums.push({ ours, c });
  runs.push({
    one: JSON.parse(highwater(1, 'steps', String(STEPS))),
    two: JSON.parse(highwater(2, 'steps', String(STEPS))),
  });
  note(`round ${i + 1} of ${ROUNDS}`);
}
rmSync(folder, { recursive: true });

for (const size of SIZES_MB) {
  const ms = (of: 'ours' | 'c'): string =>
    `${round(median(sums.map((found) => (found[of].get(size) ?? Number.NaN) * 1000)))} ms`;
  report({
    benchmark: 'ranks',
    measure: 'all-reduce',
    size: `${size} MB`,
    ratios:
      peer === undefined
        ? []
        : sums.map(({ ours, c }) => (ours.get(size) ?? 0) / (c.get(size) ?? 0)),
    bar: { atMost: 1.1 },
    detail: `${mpi}, 2 ranks: ${ms('ours')}${peer === undefined ? '' : `, in C ${ms('c')}`}`,
  });
}
const perStep = (of: (run: (typeof runs)[number]) => number): number =>
  median(runs.map(of)) / STEPS;
report({
  benchmark: 'ranks',
  measure: 'steps',
  size: '2 ÷ 1 ranks',
  ratios: runs.map(({ one, two }) => one.plain / two.plain),
  bar: null,
  detail:
    `${mpi}: steps/s of the digits MLP at the same global batch of 64: ` +
    `${round(1000 / perStep(({ two }) => two.plain))} with 2 ranks, ${round(1000 / perStep(({ one }) => one.plain))} with 1`,
});
report({
  benchmark: 'ranks',
  measure: 'decision',
  size: '2 ranks',
  ratios: runs.map(({ two }) => two.deciding / two.plain),
  bar: null,
  detail:
    `${mpi}: steps that each ask a ModelCheckpoint ÷ steps that do not: ` +
    `${round(1000 * (perStep(({ two }) => two.deciding) - perStep(({ two }) => two.plain)))} µs a decision`,
});
