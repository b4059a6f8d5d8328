/**
 * What reading a checkpoint costs, every checksum verified: `npm run bench -- load [--json] [--rounds N]`.
 * Both files are in the system's cache, as after a restart of training.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { openCheckpoint } from 'highwater';
import { sideFor, TENSORS, writeBigCheckpoint } from './support/big-model.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';
import { startTorch } from './support/torch.ts';

const ROUNDS = roundsWanted(7);

tf.enableProdMode();
await tf.setBackend('cpu');

for (const [size, mebibytes] of [
  ['256 MB', 256],
  ['1 GB', 1024],
] as const) {
  const side = sideFor(mebibytes * 2 ** 20);
  const folder = await mkdtemp(join('runs', 'bench-'));
  const torch = await startTorch(TENSORS, side);
  if (torch === undefined) note('PyTorch is not installed: apt-get install python3-torch');
  const ours = join(folder, 'ours.ckpt');
  const theirs = join(folder, 'theirs.pt');
  try {
    await writeBigCheckpoint(ours, side);
    await torch?.save(theirs);
    const rounds: { ours: number; theirs: number | undefined; header: number }[] = [];
    for (let i = -2; i < ROUNDS; i++) {
      const began = performance.now();
      const checkpoint = await openCheckpoint(ours);
      const header = performance.now() - began;
      const weights = await checkpoint.loadWeights();
      const whole = performance.now() - began;
      if (weights.length !== TENSORS + 1) throw new Error(`${weights.length} tensors were read`);
      const found = { ours: whole, theirs: await torch?.load(theirs), header };
      if (i >= 0) rounds.push(found);
    }
    const ratios = rounds.flatMap(({ ours, theirs }) =>
      theirs === undefined ? [] : [ours / theirs],
    );
    const ms = (values: readonly number[]): string => `${round(median(values))} ms`;
    report({
      benchmark: 'load',
      measure: 'load',
      size,
      ratios,
      bar: { atMost: 1 },
      detail:
        `${ms(rounds.map(({ ours }) => ours))} verified (header alone ${ms(rounds.map(({ header }) => header))}), ` +
        `torch.load ${ms(rounds.map(({ theirs }) => theirs ?? Number.NaN))}`,
    });
  } finally {
    torch?.close();
    await rm(folder, { recursive: true, force: true });
  }
}
