import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_LISTED } from '../../src/checkpoint/state.ts';
import {
  type Callback,
  localFiles,
  ModelCheckpoint,
  memoryFiles,
  openCheckpoint,
  type Storage,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** Weights of `size` float32 numbers, which fall by 0.125 at each step. */
class Model extends ArrayModule {
  live = 0;
  mostLive = 0;
  readonly size: number;
  constructor(size: number) {
    super({ weight: new Float32Array(size), other: [1, 2] });
    this.size = size;
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', -batch);
    return { loss: 0, gradients: { weight: new Float32Array(this.size).fill(1) } };
  }
  override retain(handle: unknown): unknown {
    if ((handle as Float32Array).length === this.size)
      this.mostLive = Math.max(this.mostLive, ++this.live);
    return super.retain(handle);
  }
  override release(handle: unknown): void {
    if (handle instanceof Float32Array && handle.length === this.size) this.live--;
    super.release(handle);
  }
}

/**
 * Storage that writes nothing until a hook has to wait, and for a while longer; at the end of training, when
 * no hook comes any more, at once.
 */
class Congested {
  readonly storage: Storage;
  readonly callback: Callback;
  static readonly WAIT_MS = 5;

  constructor(maxWaitingSaves: number) {
    const files = memoryFiles();
    let trainer: Trainer | undefined;
    let isOver = false;
    this.storage = {
      ...files,
      async writer(path, options) {
        while (!isOver && (trainer?.checkpointing.pendingSaves ?? 0) < 2 + maxWaitingSaves) {
          await new Promise((resolve) => setTimeout(resolve, 1));
        }
        await new Promise((resolve) => setTimeout(resolve, Congested.WAIT_MS + 1));
        return files.writer(path, options);
      },
    };
    this.callback = {
      onTrainStart: (running) => {
        trainer = running;
      },
      onTrainEnd: () => {
        isOver = true;
      },
    };
  }
}

const quiet = { logger: false, enableProgressBar: false, maxEpochs: 1 } as const;

async function train(
  module: Model,
  callbacks: readonly Callback[] | ModelCheckpoint,
  options: TrainerOptions,
  steps = 12,
): Promise<Trainer> {
  const trainer = new Trainer({ ...quiet, callbacks, ...options });
  await trainer.fit(module, { trainDataloaders: Array.from({ length: steps }, (_, i) => i) });
  return trainer;
}

describe('a save behind training', () => {
  it.each([0, 1, 3])(
    'holds at most one state more than may wait: maxWaitingSaves %s',
    async (maxWaitingSaves) => {
      const module = new Model(10);
      const checkpoint = new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1, saveTopK: -1 });
      const { storage, callback } = new Congested(maxWaitingSaves);
      await train(module, [callback, checkpoint], { storage, maxWaitingSaves });
      expect(module.mostLive).toBe(1 + maxWaitingSaves);
      expect(module.live).toBe(0);
    },
  );

  it('tells what it cost, and how long the hook waited for room', async () => {
    const checkpoint = new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1, saveLast: true });
    const waits: number[] = [];
    const { storage, callback } = new Congested(1);
    await train(new Model(10), [callback, checkpoint], {
      storage,
      logger: {
        saveDir: '/',
        name: 'costs',
        version: 0,
        logMetrics: () => {},
        afterSaveCheckpoint: ({ lastSave }) => {
          waits.push(lastSave?.waitedMs ?? Number.NaN);
        },
      },
    });
    const { lastSave } = checkpoint;
    expect(lastSave?.paths).toEqual(['/c/epoch=0-step=12.ckpt', '/c/last.ckpt']);
    // The bytes are written once, however many names they get.
    expect(lastSave?.bytes).toBe((await storage.stat('/c/last.ckpt'))?.sizeBytes);
    expect(lastSave?.writeMs).toBeGreaterThan(0);
    expect(lastSave?.captureMs).toBeGreaterThan(0);
    // The first two find room: one is written, one may wait. Each later one waits until a file is begun.
    expect(waits).toHaveLength(12);
    expect(Math.min(...waits.slice(2))).toBeGreaterThanOrEqual(Congested.WAIT_MS);
  });

  it('waits in the hook with asyncSave: false, and counts it', async () => {
    const checkpoint = new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1 });
    await train(new Model(10), checkpoint, { storage: memoryFiles(), asyncSave: false }, 2);
    const { waitedMs = 0, writeMs = 0 } = checkpoint.lastSave ?? {};
    expect(waitedMs).toBeGreaterThanOrEqual(writeMs);
  });

  it('is summed up at the end of training, when there is a progress bar', async () => {
    const lines: string[] = [];
    const console = { info: (line: string) => lines.push(line), warn: () => {} };
    await train(new Model(10), new ModelCheckpoint({ dirpath: '/c' }), {
      storage: memoryFiles(),
      console,
      enableProgressBar: true,
    });
    expect(lines.at(-1)).toMatch(
      /^1 checkpoint, \d\.\d kB, took \d+\.\d\d s(?: \(\d+\.\d %\))? of \d+\.\d\d s: capturing \d\.\d\d s, waiting \d\.\d\d s$/,
    );
  });
});

describe('a large state', () => {
  let folder = '';
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'highwater-'));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  // 8 MB: above what is written at once, so that the checksums come from the storage's own thread, or,
  // where it has none, from this one.
  it.each(['with', 'without'])(
    'is whole, written once, and verified when it is read, %s a thread for checksums',
    async (kind) => {
      const files = localFiles();
      const storage: Storage =
        kind === 'with'
          ? files
          : {
              ...files,
              async writer(path, options) {
                const { checksums: _, ...writer } = await files.writer(path, options);
                return writer;
              },
            };
      const size = 2_000_000;
      const checkpoint = new ModelCheckpoint({ dirpath: folder, saveLast: true });
      await train(new Model(size), checkpoint, { storage }, 4);
      expect((await readdir(folder)).sort()).toEqual([
        '.highwater',
        'epoch=0-step=4.ckpt',
        'last.ckpt',
      ]);
      expect(checkpoint.lastSave?.bytes).toBeLessThan(size * 4 * 1.01);

      const reader = await openCheckpoint(checkpoint.lastModelPath);
      await reader.verify();
      const [weight] = await reader.loadWeights(['weight']);
      expect(new Float32Array(weight!.bytes.buffer).every((value) => value === -0.5)).toBe(true);
      expect((await reader.loadWeights()).map(({ name }) => name).sort()).toEqual([
        'other',
        'weight',
      ]);
      await expect(reader.loadWeights(['bias'])).rejects.toMatchObject({
        code: 'TENSOR_NOT_FOUND',
        message: expect.stringContaining("no weight 'bias'. It has 'other', 'weight'."),
      });
    },
  );
});

describe('more kept files than a state lists', () => {
  const options = {
    dirpath: '/c',
    filename: '{step}',
    monitor: 'loss',
    saveTopK: MAX_LISTED + 2,
    saveLast: true,
    everyNTrainSteps: 1,
  } as const;

  it('go on ranking after a resume: each file holds its own score', async () => {
    const storage = memoryFiles();
    const first = new ModelCheckpoint(options);
    await train(new Model(1), first, { storage }, MAX_LISTED + 5);
    expect(first.bestKModels.size).toBe(MAX_LISTED + 2);
    const text = new TextDecoder().decode(await storage.read(first.lastModelPath));
    expect(text).toContain('\\"keptCount\\":102');
    expect(text).not.toContain('step=50.ckpt');

    await storage.remove('/c/step=70.ckpt');
    const warnings: string[] = [];
    const second = new ModelCheckpoint(options);
    const trainer = new Trainer({
      ...quiet,
      maxEpochs: 2,
      storage,
      callbacks: second,
      console: { info: () => {}, warn: (line: string) => warnings.push(line) },
    });
    await trainer.fit(new Model(1), { trainDataloaders: [2000, 2001], ckptPath: 'last' });
    // One was gone, so the first new file took its place, and the second that of the worst.
    const expected = [...first.bestKModels.keys()].filter((path) => path !== '/c/step=70.ckpt');
    expect([...second.bestKModels.keys()]).toEqual([
      ...expected.slice(1),
      '/c/step=106.ckpt',
      '/c/step=107.ckpt',
    ]);
    expect(second.bestModelPath).toBe('/c/step=107.ckpt');
    expect(warnings).toEqual([
      "ModelCheckpoint: 1 of 102 kept files are gone from '/c', so they are not among the kept any more.",
    ]);
  });

  it('are told apart where two callbacks have one state key', async () => {
    const storage = memoryFiles();
    const names = ['first', 'second'] as const;
    const twins = (): ModelCheckpoint[] =>
      names.map((name) => {
        const filename = `${name}-{step}`;
        return new ModelCheckpoint({ ...options, filename, saveLast: false });
      });
    const before = twins();
    await train(new Model(1), before, { storage }, MAX_LISTED + 5);
    const after = twins();
    const warnings: string[] = [];
    const trainer = new Trainer({
      ...quiet,
      maxEpochs: 2,
      storage,
      callbacks: after,
      console: { info: () => {}, warn: (line: string) => warnings.push(line) },
    });
    await trainer.fit(new Model(1), { trainDataloaders: [2000], ckptPath: 'last' });
    expect(warnings).toEqual([]);
    for (const [i, name] of names.entries()) {
      const kept = [...(before[i]?.bestKModels.keys() ?? [])];
      const newest = `/c/${name}-step=${MAX_LISTED + 6}.ckpt`;
      expect([...(after[i]?.bestKModels.keys() ?? [])]).toEqual([...kept.slice(1), newest]);
      for (const path of kept.slice(1)) expect(await storage.stat(path)).toBeDefined();
    }
  });
});
