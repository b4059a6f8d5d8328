/**
 * What reading a checkpoint costs, every checksum verified: `npm run bench -- load [--json] [--rounds N]`.
 * Both files are in the system's cache, as after a restart of training, and each is read by a new process, as
 * then; and again and again in one process, which finds memory that it has touched before.
 */
import { execFileSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from 'highwater';
import { useBackend } from './support/backend.ts';
import { sideFor, TENSORS, writeBigCheckpoint } from './support/big-model.ts';
import { makeFolder } from './support/folder.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';
import { startTorch, torchLoadsFirst } from './support/torch.ts';

const ROUNDS = roundsWanted(7);
/** Until both processes get back the memory that they have let go. */
const WARM_UPS = 5;

await useBackend('cpu');

for (const [size, mebibytes] of [
  ['256 MB', 256],
  ['1 GB', 1024],
] as const) {
  const side = sideFor(mebibytes * 2 ** 20);
  const folder = await makeFolder();
  const torch = await startTorch(TENSORS, side);
  if (torch === undefined) note('PyTorch is not installed: apt-get install python3-torch');
  const ours = join(folder, 'ours.ckpt');
  const theirs = join(folder, 'theirs.pt');
  try {
    await writeBigCheckpoint(ours, side);
    await torch?.save(theirs);
    const first = await inRounds(async () => ({
      ours: loadsFirst(ours),
      theirs: await torchLoadsFirst(theirs),
    }));
    const again = await inRounds(async () => ({
      ours: await loads(ours),
      theirs: await torch?.load(theirs),
    }));
    reportLoads(size, 'in new processes', first);
    reportLoads(`${size} again`, 'again and again in one process', again);
  } finally {
    torch?.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Round {
  readonly ours: number;
  readonly theirs: number | undefined;
}

async function inRounds(once: () => Promise<Round>): Promise<readonly Round[]> {
  const rounds: Round[] = [];
  for (let i = -WARM_UPS; i < ROUNDS; i++) {
    const found = await once();
    if (i >= 0) rounds.push(found);
  }
  return rounds;
}

/** Milliseconds of a verified load. */
async function loads(path: string): Promise<number> {
  const began = performance.now();
  const checkpoint = await openCheckpoint(path);
  const weights = await checkpoint.loadWeights();
  const ms = performance.now() - began;
  if (weights.length !== TENSORS + 1) throw new Error(`${weights.length} tensors were read`);
  return ms;
}

/** The same, as the first thing that a new process does; its start is not counted. */
function loadsFirst(path: string): number {
  const script = fileURLToPath(new URL('./support/load-first.ts', import.meta.url));
  return Number(execFileSync(process.execPath, ['--import', 'tsx', script, path]));
}

function reportLoads(size: string, where: string, rounds: readonly Round[]): void {
  const ms = (values: readonly number[]): string => `${round(median(values))} ms`;
  report({
    benchmark: 'load',
    measure: 'load',
    size,
    ratios: rounds.flatMap(({ ours, theirs }) => (theirs === undefined ? [] : [ours / theirs])),
    bar: { atMost: 1 },
    detail:
      `${ms(rounds.map(({ ours }) => ours))} verified, torch.load ` +
      `${ms(rounds.map(({ theirs }) => theirs ?? Number.NaN))}, ${where}`,
  });
}
