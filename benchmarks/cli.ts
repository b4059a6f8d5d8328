/**
 * How long the `highwater` command takes, from its start to its end: `npm run bench -- cli [--json]`. A value is
 * the part of the time that it may take. It runs as it is packed, so this builds it first.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

import { ModelCheckpoint, memoryFiles, Trainer } from 'highwater';
import { ArrayModule, type LossAndGradients } from '../test/support/array-module.ts';
import { useBackend } from './support/backend.ts';
import { sideFor, writeBigCheckpoint } from './support/big-model.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';

const ROUNDS = roundsWanted(5);
const FILES = 10_000;
const LS_MS = 2000;
const SHOW_MS = 300;

class OneWeight extends ArrayModule {
  constructor() {
    super({ weight: [0] });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', Math.sin(batch));
    return { loss: 0, gradients: { weight: [1] } };
  }
}

/** A run that has kept every step: the files as the Trainer writes them, only without waiting for the disk. */
async function writeFolder(folder: string): Promise<void> {
  const storage = memoryFiles();
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    maxEpochs: 1,
    storage: { ...storage, append: async () => {} },
    callbacks: new ModelCheckpoint({
      dirpath: folder,
      filename: '{step}-{loss:.3f}',
      monitor: 'loss',
      saveTopK: -1,
      everyNTrainSteps: 1,
    }),
  });
  await trainer.fit(new OneWeight(), {
    trainDataloaders: Array.from({ length: FILES }, (_, i) => i),
  });
  await mkdir(folder, { recursive: true });
  for await (const { path } of storage.list(folder))
    await writeFile(path, await storage.read(path));
}

function timeOf(...args: readonly string[]): number {
  const began = performance.now();
  execFileSync(process.execPath, [resolve('dist/cli/main.js'), ...args], { stdio: 'ignore' });
  return performance.now() - began;
}

function measure(name: string, size: string, allowedMs: number, ...args: readonly string[]): void {
  const times = Array.from({ length: ROUNDS + 1 }, () => timeOf(...args)).slice(1);
  report({
    benchmark: 'cli',
    measure: name,
    size,
    ratios: times.map((time) => time / allowedMs),
    bar: { atMost: 1 },
    detail: `${round(median(times))} ms of the ${allowedMs} it may take`,
  });
}

execFileSync('npm', ['run', 'build'], { stdio: 'ignore' });

await useBackend('cpu');
await mkdir('runs', { recursive: true });
const root = resolve(await mkdtemp(join('runs', 'bench-')));
try {
  note(`writing ${FILES} checkpoints`);
  await writeFolder(join(root, 'many'));
  measure('ls', `${FILES.toLocaleString('en-US')} files`, LS_MS, 'ls', join(root, 'many'));
  const big = join(root, 'big.ckpt');
  note(`writing 1 GB to ${dirname(big)}`);
  await writeBigCheckpoint(big, sideFor(2 ** 30));
  measure('show', '1 GB', SHOW_MS, 'show', big);
} finally {
  await rm(root, { recursive: true, force: true });
}
