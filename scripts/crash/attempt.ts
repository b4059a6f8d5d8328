import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const workload = fileURLToPath(new URL('./workload.ts', import.meta.url));

/** A moment of a run: so long after its nth batch, or after the start of the process when `batch` is 0. */
export interface Moment {
  readonly batch: number;
  readonly delayMs: number;
}

/** How one process that trains has ended. */
export interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The signal was sent before it had ended. */
  readonly wasKilled: boolean;
  /** The newest step whose save it has acknowledged; 0 when there is none. */
  readonly durableStep: number;
  /** The step that it was stopped at by a signal that it could handle. */
  readonly stoppedStep: number | undefined;
  /** Below the run's folder; undefined for a fresh start. */
  readonly resumedFrom: string | undefined;
  /** When each batch was done, in milliseconds from the start of the process. */
  readonly batchesDoneMs: ReadonlyMap<number, number>;
  readonly ms: number;
}

/** Starts the workload, and sends it a signal at a moment, if it comes by there; else it runs to its end. */
export async function attempt(
  data: string,
  folder: string,
  kill: { readonly signal: NodeJS.Signals; readonly at: Moment } | undefined,
): Promise<Ending> {
  const began = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', workload, data, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let wasKilled = false;
  let timer: NodeJS.Timeout | undefined;
  const reached = (batch: number): void => {
    if (kill?.at.batch !== batch) return;
    timer = setTimeout(() => {
      wasKilled = child.kill(kill.signal);
    }, kill.at.delayMs);
  };
  const batchesDoneMs = new Map<number, number>();
  let durableStep = 0;
  let stoppedStep: number | undefined;
  let resumedFrom: string | undefined;
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [, word, value = ''] =
      /^(batch|durable|stopped|resumed from) (.*?)(;.*)?$/.exec(line) ?? [];
    if (word === 'batch') {
      batchesDoneMs.set(Number(value), performance.now() - began);
      reached(Number(value));
    } else if (word === 'durable') durableStep = Math.max(durableStep, Number(value));
    else if (word === 'stopped') stoppedStep = Number(value);
    else if (word !== undefined) resumedFrom = value.slice(folder.length + 1);
  });
  reached(0);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.on('close', (...ending) => resolve(ending));
  });
  clearTimeout(timer);
  const ms = performance.now() - began;
  return { code, signal, wasKilled, durableStep, stoppedStep, resumedFrom, batchesDoneMs, ms };
}

/** The moment at which an uninterrupted run was after `ms`: a busier machine has the same moments later. */
export function momentAt({ batchesDoneMs }: Ending, ms: number): Moment {
  let moment: Moment = { batch: 0, delayMs: ms };
  for (const [batch, doneMs] of batchesDoneMs) {
    if (doneMs <= ms) moment = { batch, delayMs: ms - doneMs };
  }
  return moment;
}
