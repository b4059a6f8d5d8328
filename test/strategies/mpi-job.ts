import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { LAUNCH_ENV, launchCommand, type Mpi } from '../../examples/digits-mpi/launch.ts';

/** After so long a job has hung: it is killed, and the test fails. */
const LIMIT_MS = 60_000;
/** A rank may outlive the launcher by so much. */
const LEAVING_MS = 5_000;

/** What is printed by a job of real processes, and how it ended. */
export interface Ending {
  readonly code: number | null;
  readonly output: string;
  /** What every rank wrote to `<RESULTS>/<rank>.json` at its end, by rank. */
  readonly results: readonly unknown[];
}

export interface JobOptions {
  /** Undefined: one process, without a launcher. */
  readonly mpi: Mpi | undefined;
  readonly ranks?: number;
  readonly program: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Sends the launcher a signal as soon as it has printed something. */
  readonly signal?: { readonly name: NodeJS.Signals; readonly after: string };
}

let jobs = 0;

/**
 * Runs a program on ranks of this machine, waits for the launcher, and then sees that no process of the job is
 * left. Throws when it takes longer than a minute; whatever happens, every process is killed at the end.
 */
export async function runJob(options: JobOptions): Promise<Ending> {
  const { mpi, ranks = 1, program, args = [], env = {}, signal } = options;
  const mark = `${process.pid}-${++jobs}`;
  const folder = mkdtempSync(join(tmpdir(), 'highwater-job-'));
  const tsx = import.meta.resolve('tsx');
  const node = [process.execPath, '--import', tsx, resolve(program), ...args];
  const [command = '', ...rest] = mpi === undefined ? node : launchCommand(mpi, ranks, node);
  const child = spawn(command, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...ownEnvironment(), ...LAUNCH_ENV, ...env, RESULTS: folder, HIGHWATER_TEST_JOB: mark },
  });
  onTestFinished(() => {
    killAll(mark);
    rmSync(folder, { recursive: true });
  });
  let output = '';
  let isSignalled = signal === undefined;
  const read = (text: Buffer): void => {
    output += text;
    if (isSignalled || !output.includes(`${signal?.after}\n`)) return;
    isSignalled = child.kill(signal?.name);
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const ended = new Promise<number | null>((resolveCode) => child.on('close', resolveCode));
  const limit = new AbortController();
  const code = await Promise.race([
    ended,
    sleep(LIMIT_MS, undefined, { signal: limit.signal }).then(() => {
      killAll(mark);
      throw new Error(`the job hangs:\n${output}`);
    }),
  ]);
  limit.abort();
  for (let waitedMs = 0; processesOf(mark).length > 0; waitedMs += 50) {
    if (waitedMs > LEAVING_MS) throw new Error(`ranks are left behind:\n${output}`);
    await sleep(50);
  }
  const files = readdirSync(folder).sort();
  const results = files.map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')));
  return { code, output, results };
}

/** Without what a launcher further up may have set. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(OMPI|PMIX?|NODE_OPTIONS)(_|$)/.test(name)),
  );
}

/** The processes of a job, by the mark in their environment: they may be in groups of their own. */
function processesOf(mark: string): readonly number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
        return environment.includes(`HIGHWATER_TEST_JOB=${mark}`);
      } catch {
        return false;
      }
    })
    .map(Number);
}

function killAll(mark: string): void {
  for (const pid of processesOf(mark)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
}
