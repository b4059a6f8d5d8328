/**
 * Kills training at random moments and goes on, again and again, and compares what is left with a run that was
 * never killed: `npm run crash -- --kills 25 [--signal SIGKILL|SIGTERM|SIGINT] [--seed N] [--json]`. Moments are
 * spread evenly over the time of a whole run, its start included. A run that is finished starts over in a new
 * folder, until there were enough kills. Exit code 1 when anything differs, is lost or is damaged.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Rng } from 'highwater';
import { loadDigits } from '../examples/digits/data.ts';
import { attempt, type Ending, momentAt } from './crash/attempt.ts';
import { packDigits } from './crash/digits-file.ts';
import { contentOf, differences, inspect } from './crash/run-folder.ts';

const ROWS = 700;
/** 128 and the number of the signal: what a program that was stopped by it exits with. */
const EXPECTED_EXIT = { SIGKILL: undefined, SIGTERM: 143, SIGINT: 130 } as const;

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

/** How far it has come: with `--json` beside the result. */
const say = (text: string): void => {
  if (values.json) console.error(text);
  else console.log(text);
};

/** What is wrong with the way a process has ended; undefined when it was as it should. */
function unexpected(ending: Ending): string | undefined {
  const { code, signal: endedBy, wasKilled, stoppedStep, batchesDoneMs } = ending;
  if (code === 0) return undefined;
  const how = `a process ended with ${code ?? endedBy}`;
  if (!wasKilled) return `${how}, and nothing had killed it`;
  if (signal === 'SIGKILL') return endedBy === signal ? undefined : how;
  // Before it trains, a signal ends it as any other program.
  if (endedBy === signal && batchesDoneMs.size === 0) return undefined;
  if (code !== EXPECTED_EXIT[signal]) return `${how}, not with ${EXPECTED_EXIT[signal]}`;
  return stoppedStep === undefined ? `${how}, and did not say where it stopped` : undefined;
}

const began = performance.now();
const { train, val } = await loadDigits(ROWS);
writeFileSync(data, packDigits({ train: train.packed, val: val.packed }));
const reference = await attempt(data, join(root, 'reference'), undefined);
if (reference.code !== 0) throw new Error(`the run without a kill ended with ${reference.code}`);
const expected = await contentOf(join(root, 'reference'));
const batches = reference.batchesDoneMs.size;
say(
  `A run takes ${(reference.ms / 1000).toFixed(1)} s and leaves ${expected.size} files to compare.`,
);

const random = new Rng(Number(values.seed));
let [kills, runs, lost, corruptVisible, beforeFirstSave] = [0, 0, 0, 0, 0];
/** Kills by how far the run had come: in its first tenth, second tenth… */
const spread = new Array<number>(10).fill(0);
const problems: string[] = [];
while (kills < wanted) {
  runs++;
  const folder = join(root, `run-${runs}`);
  const sources = new Set<string>();
  let acknowledged = 0;
  let batch = 0;
  for (let isOver = false; !isOver; ) {
    const at = momentAt(reference, random.uniform() * reference.ms);
    const ending = await attempt(data, folder, kills < wanted ? { signal, at } : undefined);
    const { code, durableStep, stoppedStep, resumedFrom } = ending;
    if (resumedFrom !== undefined) sources.add(resumedFrom);
    acknowledged = Math.max(acknowledged, durableStep);
    batch = Math.max(batch, ...ending.batchesDoneMs.keys());
    const problem = unexpected(ending);
    if (problem !== undefined) problems.push(`run ${runs}: ${problem}`);
    isOver = code === 0 || problem !== undefined;
    if (!isOver) {
      kills++;
      if (acknowledged === 0) beforeFirstSave++;
      const tenth = Math.min(9, Math.floor((batch / batches) * 10));
      spread[tenth] = (spread[tenth] ?? 0) + 1;
    }
    const { corrupt, newestStep } = await inspect(folder);
    corruptVisible += corrupt.length;
    problems.push(...corrupt.map((what) => `run ${runs}: ${what}`));
    const promised = Math.max(acknowledged, stoppedStep ?? 0);
    if (newestStep < promised) {
      lost++;
      problems.push(
        `run ${runs}: step ${promised} was saved, and the newest on disk is of step ${newestStep}`,
      );
    }
  }
  const found = differences(expected, await contentOf(folder), sources);
  problems.push(...found.map((path) => `run ${runs} differs in ${path}`));
  say(
    `run ${runs}: ${kills} of ${wanted} kills, ${found.length === 0 ? 'equal' : found.join(', ')}`,
  );
  if (found.length === 0) rmSync(folder, { recursive: true, force: true });
}

const equal = problems.length === 0;
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
for (const problem of problems) console.error(problem);
if (equal) rmSync(root, { recursive: true });
else console.error(`What differs is in ${root}.`);
say(
  `Kills by how far the run had come, in tenths: ${spread.join(' ')}; before its first save: ${beforeFirstSave}.`,
);
const result = { kills, runs, equal, lost, corruptVisible, seconds };
console.log(
  values.json
    ? JSON.stringify(result)
    : `${equal ? 'equal' : 'NOT equal'}: ${JSON.stringify(result)}`,
);
process.exitCode = equal ? 0 : 1;
