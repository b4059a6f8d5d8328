import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Mpi } from '../../examples/digits-mpi/launch.ts';
import { BINARIES } from '../../src/strategies/mpi/handles.ts';
import type { BatchNormResult } from './batch-norm-program.ts';
import { type Ending, type JobOptions, runJob } from './mpi-job.ts';
import type { TrainingJob, TrainingResult } from './training-job.ts';

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'highwater-mpi-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

async function train(
  mpi: Mpi | undefined,
  ranks: number,
  job: TrainingJob,
  signal?: JobOptions['signal'],
): Promise<Omit<Ending, 'results'> & { readonly results: readonly TrainingResult[] }> {
  const env = { JOB: JSON.stringify(job) };
  const program = 'test/strategies/training-program.ts';
  const ending = await runJob({ mpi, ranks, program, env, ...(signal ? { signal } : {}) });
  return { ...ending, results: ending.results as readonly TrainingResult[] };
}

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ckpt') || name.includes('.tmp'))
    .sort();

/** What is not the same in two folders: the folders. */
const without = (value: unknown, folder: string): unknown =>
  JSON.parse(JSON.stringify(value).replaceAll(folder, ''));

function expectClose(actual: readonly number[], expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of actual.entries()) {
    expect(Math.abs(value - (expected[i] ?? Number.NaN))).toBeLessThan(1e-5);
  }
}

/** A signal for the launcher once training has come to a step. */
const signalAt = (step: number, name: NodeJS.Signals): JobOptions['signal'] => ({
  name,
  after: `step ${step}`,
});

const FLAVOURS: readonly Mpi[] = ['openmpi', 'mpich'];

describe.each([
  ['openmpi', 1],
  ['openmpi', 2],
  ['openmpi', 4],
  ['mpich', 1],
  ['mpich', 2],
] as const)('%s with %i ranks', (mpi, ranks) => {
  it('keeps the strategy contract', async () => {
    const ending = await runJob({ mpi, ranks, program: 'test/strategies/contract-program.ts' });
    expect(ending.code, ending.output).toBe(0);
    const results = ending.results as { name: string; passed: number; of: number }[];
    expect(results).toHaveLength(ranks);
    for (const { name, passed, of } of results) {
      expect(name).toBe(mpi);
      expect(passed).toBe(of);
      expect(of).toBeGreaterThan(12);
    }
  });

  it('trains as one process does: the same weights, steps, metrics and kept files', async () => {
    const [one, many] = [newFolder(), newFolder()];
    const alone = await train(undefined, 1, { out: one, epochs: 6 });
    const [expected] = alone.results;
    const { code, output, results } = await train(mpi, ranks, { out: many, epochs: 6 });
    expect(code, output).toBe(0);
    expect(results).toHaveLength(ranks);
    for (const result of results) {
      expect(result.error).toBeNull();
      expect(result.steps).toBe(expected?.steps);
      expect(result.weights).toEqual(results[0]?.weights);
      expectClose(result.weights, expected?.weights ?? []);
      expectClose([result.metrics.loss ?? 0], [expected?.metrics.loss ?? 1]);
      expect(without(result.states, many)).toEqual(without(expected?.states, one));
    }
    expect(filesIn(many)).toEqual(filesIn(one));
    expect(filesIn(many)).toContain('best/epoch=5-step=42-score=0.125.ckpt');
  });
});

describe.each(FLAVOURS)('%s', (mpi) => {
  it.each(['SIGUSR1', 'SIGTERM'] as const)(
    '%s to the launcher: all ranks agree on a step, save, and end; a resume ends with the same bits',
    async (signal) => {
      const [whole, cut] = [newFolder(), newFolder()];
      const job = { epochs: 4, accumulate: 2 };
      const uninterrupted = await train(mpi, 2, { ...job, out: whole });
      // OpenMPI takes its time before it passes SIGTERM on, and again before it kills.
      const slow = { ...job, out: cut, stepMs: signal === 'SIGTERM' ? 400 : 100 };
      const interrupted = await train(mpi, 2, slow, signalAt(5, signal));
      // A launcher that is terminated says so; one that passes a warning on does not.
      if (signal === 'SIGUSR1') expect(interrupted.code).toBe(0);
      expect(interrupted.results).toHaveLength(2);
      for (const { error, steps } of interrupted.results) {
        expect(error).toBe('AbortError');
        expect(steps).toBe(interrupted.results[0]?.steps);
        expect(steps).toBeLessThan(uninterrupted.results[0]?.steps ?? 0);
      }
      expect(filesIn(cut).filter((name) => name.includes('.tmp'))).toEqual([]);

      const resumed = await train(mpi, 2, { ...job, out: cut, ckptPath: 'last' });
      expect(resumed.output).toMatch(/^resumed from /m);
      expect(resumed.results.map(({ weights }) => weights)).toEqual(
        uninterrupted.results.map(({ weights }) => weights),
      );
      expect(resumed.results[0]?.metrics).toEqual(uninterrupted.results[0]?.metrics);
    },
  );

  it.each([
    ['hook throws', 1, /rank 1 of 2 ends the job:[\s\S]*this rank has had enough/],
    ['hook throws', 0, /rank 0 of 2 ends the job:[\s\S]*this rank has had enough/],
    ['timer throws', 1, /rank 1 of 2 ends the job:[\s\S]*this rank has had enough/],
    ['promise rejects', 1, /rank 1 of 2 ends the job:[\s\S]*this rank has had enough/],
    ['exits', 1, /rank 1 of 2 ends the job:[\s\S]*process\.exit\(0\)/],
    ['never settles', 1, /rank 1 of 2 ends the job:[\s\S]*never settles/],
    ['saves alone', 0, /ends the job:[\s\S]*The ranks do not call the same: one calls [br]/],
    ['saves alone', 1, /ends the job:[\s\S]*The ranks do not call the same: one calls [br]/],
    ['flushes alone', 0, /ends the job:[\s\S]*The ranks do not call the same: one calls [br]/],
    ['is killed', 1, /[Kk]illed|signal 9/],
    ['is killed', 0, /[Kk]illed|signal 9/],
  ] as const)('when one %s on rank %i, the job ends and says why', async (kind, rank, reason) => {
    const out = newFolder();
    const { code, output, results } = await train(mpi, 2, {
      out,
      epochs: 50,
      trouble: { kind, rank, step: 4 },
    });
    expect(code).not.toBe(0);
    expect(output).toMatch(reason);
    expect(results).toEqual([]);
    // What was saved is whole, and what was being saved is swept by the next start.
    const resumed = await train(mpi, 2, { out, epochs: 1, ckptPath: 'last' });
    expect(resumed.code, resumed.output).toBe(0);
    expect(filesIn(out).filter((name) => name.includes('.tmp'))).toEqual([]);
  });

  it('a save that fails on rank 0 is the same error on every rank, and nobody hangs', async () => {
    const trouble = { kind: 'save fails', rank: 0, step: 6 } as const;
    const { code, output, results } = await train(mpi, 2, {
      out: newFolder(),
      epochs: 5,
      trouble,
    });
    expect(code, output).toBe(0);
    expect(results).toHaveLength(2);
    for (const { error, message, steps } of results) {
      expect(error).toBe('SAVE_FAILED');
      expect(message).toBe(results[0]?.message);
      expect(message).toContain('There is no space');
      expect(steps).toBe(results[0]?.steps);
    }
  });

  it('goes on with another number of ranks: the same place in the data, the same weights', async () => {
    const [whole, cut] = [newFolder(), newFolder()];
    const job = { epochs: 3 };
    const slow = { ...job, out: cut, stepMs: 100 };
    const { results } = await train(undefined, 1, { ...job, out: whole });
    const first = await train(mpi, 2, slow, signalAt(9, 'SIGUSR1'));
    expect(first.results.map(({ error }) => error)).toEqual(['AbortError', 'AbortError']);
    const second = await train(
      undefined,
      1,
      { ...slow, ckptPath: 'last' },
      signalAt(14, 'SIGTERM'),
    );
    expect(second.results[0]).toMatchObject({ error: 'AbortError' });
    const third = await train(mpi, 2, { ...job, out: cut, ckptPath: 'last' });
    expect(third.results).toHaveLength(2);
    for (const result of third.results) {
      expect(result.steps).toBe(results[0]?.steps);
      expectClose(result.weights, results[0]?.weights ?? []);
      expectClose([result.metrics.loss_epoch ?? 0], [results[0]?.metrics.loss_epoch ?? 1]);
      expect(result.weights).toEqual(third.results[0]?.weights);
      expect(without(result.states, cut)).toEqual(without(third.results[0]?.states, cut));
    }
  });

  it('BatchNorm has the same statistics on both ranks in every hook; a resume ends with the same bits', async () => {
    const program = 'test/strategies/batch-norm-program.ts';
    const run = async (OUT: string, EPOCHS: string): Promise<readonly BatchNormResult[]> => {
      const { code, output, results } = await runJob({
        mpi,
        ranks: 2,
        program,
        env: { OUT, EPOCHS },
      });
      expect(code, output).toBe(0);
      expect(results).toHaveLength(2);
      expect(results[1]).toEqual(results[0]);
      return results as readonly BatchNormResult[];
    };
    const [whole, cut] = [newFolder(), newFolder()];
    const [unbroken] = await run(whole, '3');
    expect(unbroken?.hooks.length).toBeGreaterThan(40);
    expect(unbroken?.movingMean.every((mean) => mean !== 0)).toBe(true);
    const [before] = await run(cut, '1');
    expect(before?.movingMean).not.toEqual(unbroken?.movingMean);
    const [resumed] = await run(cut, '3');
    expect(resumed?.weights).toEqual(unbroken?.weights);
    expect(resumed?.val).toBe(unbroken?.val);
  });

  it('data that ends sooner on one rank is the same error on both, and nobody hangs', async () => {
    const trouble = { kind: 'data ends', rank: 1, step: 3 } as const;
    const { code, output, results } = await train(mpi, 2, { out: newFolder(), epochs: 2, trouble });
    expect(code, output).toBe(0);
    expect(results).toHaveLength(2);
    for (const { error, message, steps } of results) {
      expect(error).toBe('MISCONFIGURATION');
      expect(message).toMatch(/batch 2, .*rank 0 has a whole batch; rank 1 has a whole batch, its/);
      expect(steps).toBe(2);
    }
  });

  it.each([0, 1])('a least or greatest that is NaN on rank %i is NaN on both', async (rank) => {
    const job = { out: newFolder(), epochs: 1 };
    const trouble = { kind: 'metric is NaN', rank } as const;
    const never = await train(mpi, 2, { ...job, trouble: { ...trouble, step: 999 } });
    const once = await train(mpi, 2, { ...job, trouble: { ...trouble, step: 0 } });
    for (const [{ results }, value] of [
      [never, 1],
      // What JSON makes of NaN.
      [once, null],
    ] as const) {
      expect(results).toHaveLength(2);
      for (const { metrics } of results) expect(metrics).toMatchObject({ min: value, max: value });
    }
  });

  it('a logger that flushes when a checkpoint is durable does so beside training', async () => {
    const trouble = { kind: 'logger flushes', rank: 0, step: 0 } as const;
    const { code, output, results } = await train(mpi, 2, { out: newFolder(), epochs: 4, trouble });
    expect(code, output).toBe(0);
    expect(output).toMatch(/flushed 13 times/);
    expect(results.map(({ error }) => error)).toEqual([null, null]);
    expect(results[1]?.states).toEqual(results[0]?.states);
  });

  const [others = ''] = BINARIES[mpi === 'openmpi' ? 'mpich' : 'openmpi'].libraries;
  it.each([
    ['is missing', 'libmissing.so', 'MISCONFIGURATION', /cannot open shared .* apt-get install/],
    ['is no MPI', 'libm.so.6', 'MISCONFIGURATION', /'libm\.so\.6' is no MPI library: .* apt-get/],
    [
      'is not that of the launcher',
      others,
      'STRATEGY_FAILED',
      /launcher says rank \d of 2 .* MPI says rank 0 of 1/,
    ],
  ])('says so when the library %s', async (_, library, code, reason) => {
    const { results } = await train(mpi, 2, { out: newFolder(), epochs: 1, library });
    expect(results).toHaveLength(2);
    for (const { error, message } of results) {
      expect(error).toBe(code);
      expect(message).toContain(mpi);
      expect(message).toMatch(reason);
    }
  });

  it('takes another library for what it is', async () => {
    const env = { LIBRARY: others };
    const program = 'test/strategies/contract-program.ts';
    const { code, output, results } = await runJob({ mpi, program, env });
    expect(code, output).toBe(0);
    expect(results).toMatchObject([{ name: mpi === 'openmpi' ? 'mpich' : 'openmpi' }]);
  });
});
