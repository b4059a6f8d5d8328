import { expect, it } from 'vitest';
import { nextMacrotask } from '../../src/event-loop.ts';
import {
  ModelCheckpoint,
  memoryFiles,
  type Storage,
  StorageError,
  Trainer,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

class Model extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    return { loss: batch, gradients: { weight: [1] } };
  }
}

/**
 * Two callbacks train into one memory: `a` decides first, then `b`. When `b` looks whether its name of step
 * `step` is free, `a` has decided; what `a` saved a step before waits until then, and `b` until that has come to
 * its end.
 */
async function train(
  step: number,
  write: (storage: Storage, path: string) => Promise<void>,
): Promise<{ readonly storage: Storage; readonly names: readonly string[] }> {
  const storage = memoryFiles();
  const early = `/c/a-step=${step - 1}.ckpt`;
  let aHasDecided = (): void => {};
  const decided = new Promise<void>((resolve) => {
    aHasDecided = resolve;
  });
  const waiting: Storage = {
    ...storage,
    async writer(path, options) {
      if (path === early) {
        await decided;
        await write(storage, path);
      }
      return await storage.writer(path, options);
    },
    async stat(path) {
      if (path === `/c/b-step=${step}.ckpt`) {
        aHasDecided();
        for (let turn = 0; turn < 20; turn++) await nextMacrotask();
      }
      return await storage.stat(path);
    },
  };
  const trainer = new Trainer({
    ...{ maxEpochs: 1, logger: false, enableProgressBar: false, onSaveError: 'warn' },
    console: { info() {}, warn() {} },
    storage: waiting,
    callbacks: ['a', 'b'].map(
      (name) =>
        new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1, filename: `${name}-{step}` }),
    ),
  });
  await trainer.fit(new Model(), { trainDataloaders: Array.from({ length: step }, (_, i) => i) });
  const names: string[] = [];
  for await (const { path } of storage.list('/c')) if (path.endsWith('.ckpt')) names.push(path);
  return { storage, names: names.sort() };
}

it('a file that gets another name after it was decided to remove it is removed, not the one with its name', async () => {
  const { storage, names } = await train(2, async (storage, path) => {
    const stranger = await storage.writer(path);
    await stranger.write([new TextEncoder().encode('precious')]);
    await stranger.publish({ replace: false });
  });
  expect(names).toEqual(['/c/a-step=1.ckpt', '/c/a-step=2.ckpt', '/c/b-step=2.ckpt']);
  expect(new TextDecoder().decode(await storage.read('/c/a-step=1.ckpt'))).toBe('precious');
});

it('what a save that failed was to displace goes in its place, also when that was decided already', async () => {
  const { names } = await train(3, (_, path) =>
    Promise.reject(new StorageError('NoSpace', path, `No space for '${path}'.`)),
  );
  expect(names).toEqual(['/c/a-step=3.ckpt', '/c/b-step=3.ckpt']);
});
