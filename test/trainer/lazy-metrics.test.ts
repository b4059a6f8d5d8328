import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ModelCheckpoint, Trainer } from '../../src/index.ts';
import { EpochReduction } from '../../src/trainer/epoch-reduction.ts';
import { RankValues } from '../../src/trainer/rank-values.ts';
import { Scalar } from '../../src/trainer/scalar.ts';
import { WHOLE } from '../../src/trainer/share.ts';
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

it.each([
  ['an epoch', () => new EpochReduction('mean')],
  ['a rank', () => new RankValues()],
])(
  'of %s: a value that cannot be read is an error of who asks for it, not before',
  async (_, make) => {
    class Lost extends Lazy {
      override readScalar(): Promise<number> {
        return Promise.reject(new RangeError('the device is lost'));
      }
    }
    const unhandled: unknown[] = [];
    const note = (error: unknown): void => void unhandled.push(error);
    const others = process.listeners('unhandledRejection');
    process.removeAllListeners('unhandledRejection').on('unhandledRejection', note);
    try {
      const values: EpochReduction | RankValues = make();
      const scalar = Scalar.of(new Lost(), 'loss', new Device(1));
      // More than are held unread.
      for (let i = 0; i < 100; i++) {
        if (values instanceof RankValues) values.add(scalar, WHOLE);
        else values.add(scalar, 1);
      }
      await new Promise((resolve) => setImmediate(resolve));
      await expect(values.take()).rejects.toThrow('the device is lost');
      expect(unhandled).toEqual([]);
    } finally {
      process.off('unhandledRejection', note);
      for (const other of others) process.on('unhandledRejection', other);
    }
  },
);
