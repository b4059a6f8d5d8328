/**
 * Kills training at random moments and goes on, again and again, and compares what is left with a run that was
 * never killed: `npm run crash -- --kills 25 [--signal SIGKILL|SIGTERM|SIGINT] [--seed N] [--json]`. Exit code 1
 * when anything differs, is lost or is damaged.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Rng } from 'highwater';
import { loadDigits } from '../examples/digits/data.ts';
import { packDigits } from './crash/digits-file.ts';
import { contentOf, differences, inspect } from './crash/run-folder.ts';

const ROWS = 700;
const EXPECTED_EXIT = { SIGKILL: null, SIGTERM: 143, SIGINT: 130 } as const;

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '25' },
    signal: { type: 'string', default: 'SIGKILL' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const wanted = Number(values.kills);
const signal = values.signal as keyof typeof EXPECTED_EXIT;
if (!Number.isSafeInteger(wanted) || wanted < 1 || !(signal in EXPECTED_EXIT)) {
  console.error(
    'usage: npm run crash -- [--kills N] [--signal SIGKILL|SIGTERM|SIGINT] [--seed N] [--json]',
  );
  process.exit(2);
}

const root = mkdtempSync(join(tmpdir(), 'highwater-crash-'));
const data = join(root, 'digits.bin');
/** All runs use this path in turn, since names of files are part of what is compared. */
const folder = join(root, 'run');
const workload = fileURLToPath(new URL('./crash/workload.ts', import.meta.url));

interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly wasKilled: boolean;
  /** The newest step whose save it has acknowledged. */
  readonly durableStep: number;
  /** Below the run's folder; undefined for a fresh start. */
  readonly resumedFrom: string | undefined;
  readonly ms: number;
}

/** Starts the workload, and ends it after a while. */
async function attempt(killAfterMs: number): Promise<Ending> {
  const began = performance.now();
  const child = spawn(process.execPath, ['--import', 'tsx', workload, data, folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (text: Buffer) => {
    output += text;
  });
  let wasKilled = false;
  const timer = Number.isFinite(killAfterMs)
    ? setTimeout(() => {
        wasKilled = child.kill(signal);
      }, killAfterMs)
    : undefined;
  const [code, endedBy] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.on('close', (...ending) => resolve(ending));
  });
  clearTimeout(timer);
  const steps = [...output.matchAll(/^durable (\d+)$/gm)].map(([, step]) => Number(step));
  const durableStep = Math.max(0, ...steps);
  const resumedFrom = /^resumed from (.*?)(;.*)?$/m.exec(output)?.[1]?.slice(folder.length + 1);
  return {
    code,
    signal: endedBy,
    wasKilled,
    durableStep,
    resumedFrom,
    ms: performance.now() - began,
  };
}

const say = (text: string): void => {
  if (!values.json) console.log(text);
};

const began = performance.now();
const { train, val } = await loadDigits(ROWS);
writeFileSync(data, packDigits({ train: train.packed, val: val.packed }));
const reference = await attempt(Number.POSITIVE_INFINITY);
if (reference.code !== 0) throw new Error(`the run without a kill ended with ${reference.code}`);
const expected = await contentOf(folder);
renameSync(folder, join(root, 'reference'));
say(
  `A run takes ${(reference.ms / 1000).toFixed(1)} s and leaves ${expected.size} files to compare.`,
);

const random = new Rng(Number(values.seed));
let [kills, runs, lost, corruptVisible] = [0, 0, 0, 0];
const problems: string[] = [];
while (kills < wanted) {
  let acknowledged = 0;
  const sources = new Set<string>();
  for (let isOver = false; !isOver; ) {
    const killAfterMs = kills < wanted ? random.uniform() * reference.ms : Number.POSITIVE_INFINITY;
    const ending = await attempt(killAfterMs);
    const { code, signal: endedBy, wasKilled, durableStep, resumedFrom } = ending;
    if (resumedFrom !== undefined) sources.add(resumedFrom);
    acknowledged = Math.max(acknowledged, durableStep);
    isOver = code === 0;
    if (wasKilled && !isOver) kills++;
    const isExpected =
      isOver || (wasKilled && (code === EXPECTED_EXIT[signal] || endedBy === signal));
    if (!isExpected) {
      problems.push(`it ended with ${code ?? endedBy}`);
      isOver = true;
    }
    const { corrupt, newestStep } = await inspect(folder);
    corruptVisible += corrupt.length;
    problems.push(...corrupt);
    if (newestStep < acknowledged) {
      lost++;
      problems.push(
        `step ${acknowledged} was acknowledged, and the newest on disk is of step ${newestStep}`,
      );
    }
  }
  runs++;
  const found = differences(expected, await contentOf(folder), sources);
  problems.push(...found.map((path) => `run ${runs} differs in ${path}`));
  say(
    `run ${runs}: ${kills} of ${wanted} kills, ${found.length === 0 ? 'equal' : found.join(', ')}`,
  );
  if (found.length === 0) rmSync(folder, { recursive: true });
  else renameSync(folder, join(root, `run-${runs}`));
}

const equal = problems.length === 0;
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
for (const problem of problems) console.error(problem);
if (equal) rmSync(root, { recursive: true });
else console.error(`What differs is in ${root}.`);
const result = { kills, runs, equal, lost, corruptVisible, seconds };
console.log(
  values.json
    ? JSON.stringify(result)
    : `${equal ? 'equal' : 'NOT equal'}: ${JSON.stringify(result)}`,
);
process.exitCode = equal ? 0 : 1;
