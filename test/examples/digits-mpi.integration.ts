import { execFileSync, spawnSync } from 'node:child_process';
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

const EXAMPLE = ['--import', 'tsx', 'scripts/run.ts', 'examples', 'digits-mpi'];

function digits(out: string, ...args: string[]): Said {
  const program = [...EXAMPLE, '--out', out, '--rows', '1280', ...args];
  const output = execFileSync(process.execPath, program, {
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

it.each([
  [2, "--mpi is 'nonsense', but it must be openmpi or mpich.", ['--mpi', 'nonsense'], {}],
  [2, "--ranks is '0', but it must be a whole number, at least 1.", ['--ranks', '0'], {}],
  [2, "--ranks is '', but it must be a whole number, at least 1.", ['--ranks='], {}],
  [2, "Unknown option '--rank'", ['--rank', '2'], {}],
  [1, 'mpiexec.mpich or mpiexec is not installed.', ['--mpi', 'mpich'], { PATH: '/nowhere' }],
  [1, 'mpirun.openmpi or mpirun is not installed.', [], { PATH: '/nowhere' }],
] as const)('ends with %i and just says: %s', (code, message, args, env) => {
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
  const { status, stderr } = spawnSync(process.execPath, [...EXAMPLE, ...args], options);
  expect(stderr.split('\n')[0]).toContain(message);
  expect(stderr).not.toMatch(/^ {4}at /m);
  expect(status).toBe(code);
});
