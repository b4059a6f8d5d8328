import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { writeCheckpoint } from '../format/checkpoint-bytes.ts';
import { anyDamage, damaged } from './mutate-bytes.ts';
import { complaintOf, contentOf } from './read-damaged.ts';

const kernel = new Float32Array(600).map((_, i) => i / 7);
const file = writeCheckpoint(
  { kind: 'full', epoch: 3, nested: { names: ['é', '$x'], best: Number.NaN } },
  [
    {
      group: 'model',
      name: 'kernel',
      dtype: 'F32',
      shape: [20, 30],
      bytes: new Uint8Array(kernel.buffer),
    },
    { group: 'optimizer', name: 'kernel', dtype: 'F32', shape: [1], bytes: new Uint8Array(4) },
    { group: 'rng', name: 'key', dtype: 'U32', shape: [2], bytes: new Uint8Array(8) },
  ],
);

it('a checkpoint that is damaged in any way is refused at a byte of it, or gives the true values', async () => {
  const truth = await contentOf(file);
  await fc.assert(
    fc.asyncProperty(fc.array(anyDamage, { minLength: 1, maxLength: 3 }), async (damage) => {
      expect(await complaintOf(damage.reduce(damaged, file), truth)).toBeUndefined();
    }),
    { numRuns: 400 },
  );
});

it('hostile files of 4 kB and 3 MB take a process with a heap of 64 MB no further', async () => {
  const script = ['--max-old-space-size=64', '--import', 'tsx', 'scripts/fuzz.ts'];
  const args = ['--seconds', '3', '--seed', String(Date.now() % 1e9), '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [...script, ...args]);
  const result = JSON.parse(stdout) as Record<string, number>;
  expect(result).toMatchObject({ problems: 0 });
  expect(result.damaged).toBeGreaterThan(10);
  // Node itself, and a few files of 3 MB.
  expect(result.maxRssMb).toBeLessThan(400);
});
