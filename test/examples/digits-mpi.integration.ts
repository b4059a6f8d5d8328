import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';

const root = mkdtempSync(join(tmpdir(), 'highwater-digits-mpi-'));
afterAll(() => rmSync(root, { recursive: true }));

/** What the example says in its last line. */
interface Said {
  readonly mpi: string;
  readonly ranks: number;
  readonly weightsEqual: boolean;
  readonly kept: readonly string[];
  readonly steps: number;
}

function digits(out: string, ...args: string[]): Said {
  const node = ['--import', 'tsx', 'scripts/run.ts', 'examples', 'digits-mpi', '--out', out];
  const output = execFileSync(process.execPath, [...node, '--rows', '1280', ...args], {
    encoding: 'utf8',
    timeout: 110_000,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(output.trim().split('\n').at(-1) ?? '');
}

it.each([
  ['openmpi', '1'],
  ['openmpi', '2'],
  ['openmpi', '4'],
  ['mpich', '2'],
])(
  'trains real digits under %s on %s ranks, which end with the same weights',
  (mpi, ranks) => {
    const out = join(root, `${mpi}-${ranks}`);
    const first = digits(out, '--mpi', mpi, '--ranks', ranks, '--epochs', '2');
    expect(first).toMatchObject({ mpi, ranks: Number(ranks), weightsEqual: true, steps: 36 });
    // Another number of ranks goes on with it.
    const more = digits(out, '--mpi', mpi, '--ranks', '2', '--epochs', '3');
    expect(more).toMatchObject({ mpi, ranks: 2, weightsEqual: true, steps: 54 });
    const there = readdirSync(join(out, 'checkpoints')).filter((name) => name.endsWith('.ckpt'));
    expect(new Set(more.kept)).toEqual(
      new Set(there.map((name) => join(out, 'checkpoints', name))),
    );
    expect(there).toHaveLength(4);
  },
  120_000,
);
