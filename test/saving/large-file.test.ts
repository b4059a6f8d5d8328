import { mkdtemp, open, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpoint, Trainer } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
/** Six tensors of 4 MB: more than are read at once. */
const LENGTH = 1_000_000;

class Large extends ArrayModule {
  constructor() {
    super(
      Object.fromEntries(
        NAMES.map((name, i) => [name, Float32Array.from({ length: LENGTH }, (_, at) => at + i)]),
      ),
    );
  }
  override trainingStep(): LossAndGradients {
    return { loss: 0, gradients: {} };
  }
}

let root: string;
let path: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-large-'));
  path = join(root, 'large.ckpt');
  const trainer = new Trainer({
    maxEpochs: 1,
    logger: false,
    enableProgressBar: false,
    enableCheckpointing: false,
    console: { info: () => {}, warn: () => {} },
    callbacks: { onTrainBatchEnd: (running) => running.saveCheckpoint(path) },
  });
  await trainer.fit(new Large(), { trainDataloaders: [0] });
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function damage(tensor: string): Promise<void> {
  const { index } = await openCheckpoint(path);
  const { offset } = index.tensors.find(({ name }) => name === tensor)!;
  const file = await open(path, 'r+');
  await file.write(Uint8Array.of(0xff), 0, 1, offset + 2_345_678);
  await file.close();
}

describe('a large checkpoint', () => {
  it('gives every tensor in the order of the file', async () => {
    const weights = await (await openCheckpoint(path)).loadWeights();
    expect(weights.map(({ name }) => name)).toEqual(NAMES);
    for (const [i, { bytes }] of weights.entries()) {
      const values = new Float32Array(bytes.buffer);
      expect(values.length).toBe(LENGTH);
      expect(values.every((value, at) => value === at + i)).toBe(true);
    }
  });
  it('names the first damaged tensor, whichever was read first', async () => {
    await damage('e');
    await damage('b');
    const checkpoint = await openCheckpoint(path);
    for (const read of [() => checkpoint.loadWeights(), () => checkpoint.verify()]) {
      await expect(read()).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
        message: expect.stringContaining("tensor 'b'"),
      });
    }
  });
  it('says where a file ends that became shorter after it was opened', async () => {
    const checkpoint = await openCheckpoint(path);
    await truncate(path, checkpoint.sizeBytes - 10);
    await expect(checkpoint.loadWeights()).rejects.toMatchObject({
      byteOffset: checkpoint.sizeBytes - 10,
    });
  });
});
