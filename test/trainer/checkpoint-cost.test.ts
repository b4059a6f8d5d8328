import { expect, it } from 'vitest';
import { describeCost } from '../../src/trainer/checkpoint-cost.ts';

const cost = { saves: 2, bytes: 5_400, captureMs: 20, waitedMs: 300, writeMs: 90 };

it.each([
  [4000, '2 checkpoints, 5.4 kB, took 0.32 s (8.0 %) of 4.00 s: capturing 0.02 s, waiting 0.30 s'],
  [600, '2 checkpoints, 5.4 kB, took 0.32 s of 0.60 s: capturing 0.02 s, waiting 0.30 s'],
])(
  'of %d ms of training, checkpoints took a part that is worth a percentage or not',
  (elapsedMs, line) => {
    expect(describeCost(cost, elapsedMs)).toBe(line);
  },
);
