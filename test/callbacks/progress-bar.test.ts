import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ProgressBar, Trainer } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

class Model extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch, { progBar: true });
    return { loss: batch, gradients: { weight: [1] } };
  }
  override validationStep(batch: number): void {
    this.log('val_loss', batch, { progBar: true });
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-bar-'));
});
afterEach(() => rm(root, { recursive: true }));

async function shown(isTTY: boolean): Promise<string> {
  const parts: string[] = [];
  const stream = { isTTY, columns: 120, write: (part: string) => parts.push(part) };
  const trainer = new Trainer({
    maxEpochs: 2,
    defaultRootDir: root,
    logger: false,
    callbacks: [new ProgressBar({ stream })],
  });
  await trainer.fit(new Model(), { trainDataloaders: [1, 2, 3], valDataloaders: [5] });
  return parts.join('');
}

it('writes one plain line for each epoch where there is no terminal', async () => {
  const lines = (await shown(false)).trimEnd().split('\n');
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^Epoch 0\/1 .*3\/3.*step 3.*loss.*3.*val_loss.*5/);
  expect(lines[1]).toMatch(/^Epoch 1\/1 .*3\/3.*step 6/);
  expect(lines.join('')).not.toContain('\u001b');
});

it('writes over one line on a terminal, and leaves the last standing', async () => {
  const text = await shown(true);
  expect(text).toContain('\r\u001b[K');
  expect(text).toContain('Sanity check');
  expect(text.endsWith('\n')).toBe(true);
  expect(text.match(/\n/g)).toHaveLength(1);
});

it('is added by the Trainer unless one is given or none is wanted', () => {
  const bars = (trainer: Trainer): number =>
    trainer.callbacks.filter((callback) => callback instanceof ProgressBar).length;
  expect(bars(new Trainer())).toBe(1);
  expect(bars(new Trainer({ callbacks: new ProgressBar() }))).toBe(1);
  expect(bars(new Trainer({ enableProgressBar: false }))).toBe(0);
});
