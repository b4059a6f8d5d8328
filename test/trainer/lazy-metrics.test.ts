import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ModelCheckpoint, Trainer } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** A scalar on a device: reading it is counted. */
class Device {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

class Lazy extends ArrayModule {
  reads = 0;
  held = 0;

  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', new Device(batch));
    return { loss: batch, gradients: { weight: [1] } };
  }
  override isTensor(value: unknown): boolean {
    return value instanceof Device || super.isTensor(value);
  }
  override describe(handle: unknown): ReturnType<ArrayModule['describe']> {
    return handle instanceof Device ? { dtype: 'F32', shape: [] } : super.describe(handle);
  }
  override retain(handle: unknown): unknown {
    if (!(handle instanceof Device)) return super.retain(handle);
    this.held++;
    return handle;
  }
  override release(handle: unknown): void {
    if (handle instanceof Device) this.held--;
    else super.release(handle);
  }
  override readScalar(handle: unknown): number | Promise<number> {
    if (!(handle instanceof Device)) return super.readScalar(handle);
    this.reads++;
    return Promise.resolve(handle.value);
  }
}

it('reads a logged tensor only when a save needs it, and holds none longer than that', async () => {
  const root = await mkdtemp(join(tmpdir(), 'highwater-lazy-'));
  const module = new Lazy();
  const checkpoint = new ModelCheckpoint({
    dirpath: root,
    everyNTrainSteps: 10,
    monitor: 'loss',
    saveTopK: -1,
  });
  const trainer = new Trainer({
    maxEpochs: 1,
    logger: false,
    enableProgressBar: false,
    callbacks: checkpoint,
  });
  await trainer.fit(module, { trainDataloaders: Array.from({ length: 30 }, (_, i) => i) });
  expect([...checkpoint.bestKModels.values()]).toEqual([9, 19, 29]);
  expect(module.reads).toBe(3);
  expect(module.held).toBe(0);
  await rm(root, { recursive: true });
});
