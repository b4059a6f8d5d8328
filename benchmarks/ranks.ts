/**
 * What ranks cost and bring, on two of this machine: `npm run bench -- ranks [--mpi openmpi|mpich] [--json]`, under
 * every MPI that is installed unless one is named. The all-reduce is compared with the same in C, which needs `mpicc`
 * (Debian: libopenmpi-dev, libmpich-dev). Two ranks on one machine share its memory bandwidth.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  isInstalled,
  LAUNCH_ENV,
  LAUNCHERS,
  launchCommand,
  type Mpi,
} from '../examples/digits-mpi/launch.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(7);
/** In MB. The first is below where the bar begins: there a call costs more than the data. */
const SIZES = ['0.0625', '1', '4', '16', '64'] as const;
const BAR_FROM_MB = 1;

type BySize = ReadonlyMap<string, number>;

/** Of one round. */
interface Found {
  /** Seconds of an all-reduce. */
  readonly ours: BySize;
  readonly c: BySize | undefined;
  /** Milliseconds of a step, with one rank and with two. */
  readonly steps: readonly [number, number];
  /** Milliseconds of a decision, with one rank and with two. */
  readonly decisions: readonly [number, number];
}

const place = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const node = [process.execPath, ...process.execArgv, place('./support/ranks-program.ts')];

/** What rank 0 of a job printed. */
function launched(mpi: Mpi, ranks: number, program: readonly string[]): string {
  const [command = '', ...args] = launchCommand(mpi, ranks, program);
  return execFileSync(command, args, {
    env: { ...process.env, ...LAUNCH_ENV },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

/** Seconds by size, as both programs print them. */
function secondsIn(output: string): BySize {
  const lines = output.trim().split('\n');
  return new Map(
    lines.map((line) => line.split(' ') as [string, string]).map(([mb, s]) => [mb, Number(s)]),
  );
}

/** The program in C; undefined when there is no compiler for it. */
function compiled(mpi: Mpi, folder: string): string | undefined {
  const program = join(folder, mpi);
  for (const compiler of [`mpicc.${mpi}`, 'mpicc']) {
    const args = ['-O2', '-o', program, place('./support/allreduce.c')];
    if (spawnSync(compiler, args, { stdio: 'ignore' }).status === 0) return program;
  }
  note(`no mpicc for ${mpi}: the all-reduce is not compared with C`);
  return undefined;
}

function measure(mpi: Mpi, peer: string | undefined): Found {
  const milliseconds = (what: string, ranks: number): number =>
    Number(
      launched(mpi, ranks, [...node, what])
        .trim()
        .split('\n')
        .at(-1),
    );
  return {
    ours: secondsIn(launched(mpi, 2, [...node, 'allreduce', ...SIZES])),
    c: peer === undefined ? undefined : secondsIn(launched(mpi, 2, [peer, ...SIZES])),
    steps: [milliseconds('steps', 1), milliseconds('steps', 2)],
    decisions: [milliseconds('decisions', 1), milliseconds('decisions', 2)],
  };
}

function reportAll(mpi: Mpi, rounds: readonly Found[]): void {
  const middle = (of: (found: Found) => number): number => median(rounds.map(of));
  for (const size of SIZES) {
    const both = rounds.map(({ ours, c }) => ({ ours: ours.get(size), c: c?.get(size) }));
    const pairs = both.filter((pair): pair is { ours: number; c: number } => pair.c !== undefined);
    const ms = (values: readonly number[]): string => `${round(1000 * median(values))} ms`;
    const mb = Number(size);
    report({
      benchmark: 'ranks',
      measure: 'all-reduce',
      size: `${mb < 1 ? `${mb * 1024} KB` : `${mb} MB`}, ${mpi}`,
      ratios: pairs.map(({ ours, c }) => ours / c),
      bar: mb < BAR_FROM_MB ? null : { atMost: 1.1 },
      detail:
        `2 ranks: ${ms(both.map(({ ours }) => ours ?? Number.NaN))}` +
        `${pairs.length === 0 ? '' : `, in C ${ms(pairs.map(({ c }) => c))}`}`,
    });
  }
  report({
    benchmark: 'ranks',
    measure: 'steps',
    size: `2 ÷ 1, ${mpi}`,
    ratios: rounds.map(({ steps: [one, two] }) => one / two),
    bar: null,
    detail:
      `steps/s of the digits MLP, 64 items a step: ${round(1000 / middle(({ steps }) => steps[1]))} with 2 ranks ` +
      `of this machine, ${round(1000 / middle(({ steps }) => steps[0]))} with 1`,
  });
  report({
    benchmark: 'ranks',
    measure: 'decision',
    size: `2 ÷ 1, ${mpi}`,
    ratios: rounds.map(({ decisions: [one, two] }) => two / one),
    bar: null,
    detail:
      `a due save decided on: ${round(1000 * middle(({ decisions }) => decisions[1]))} µs with 2 ranks, ` +
      `${round(1000 * middle(({ decisions }) => decisions[0]))} µs with 1`,
  });
}

const at = process.argv.indexOf('--mpi');
const wanted = at < 0 ? (Object.keys(LAUNCHERS) as Mpi[]) : [process.argv[at + 1] as Mpi];
const folder = mkdtempSync(join(tmpdir(), 'highwater-ranks-'));
for (const mpi of wanted) {
  if (at < 0 && !isInstalled(mpi)) {
    note(`${mpi} is not installed: not measured`);
    continue;
  }
  const peer = compiled(mpi, folder);
  const rounds: Found[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    rounds.push(measure(mpi, peer));
    note(`${mpi}: round ${i + 1} of ${ROUNDS}`);
  }
  reportAll(mpi, rounds);
}
rmSync(folder, { recursive: true });
