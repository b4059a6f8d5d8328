/**
 * What a save costs: `npm run bench -- save [--json] [--rounds N]`. A state of 200 float32 tensors, 256 MB
 * and 1 GB, on tfjs's cpu and wasm backends; every peer in the same round, each in a process and with a file of its own.
 */
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { ModelCheckpoint, Trainer } from 'highwater';
import { type Backend, useBackend } from './support/backend.ts';
import { BigModel, sideFor, TENSORS } from './support/big-model.ts';
import { makeFolder } from './support/folder.ts';
import { mainThreadMs } from './support/main-thread.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';
import { startTfjs } from './support/tfjs.ts';
import { startTorch } from './support/torch.ts';

const MIB = 2 ** 20;
const ROUNDS = roundsWanted(7);
const WARM_UPS = 8;

for (const [size, mebibytes, backend, syncBar] of [
  ['256 MB', 256, 'cpu', 1 / 100],
  ['1 GB', 1024, 'cpu', 1 / 200],
  ['256 MB, wasm', 256, 'wasm', 1 / 100],
  ['1 GB, wasm', 1024, 'wasm', 1 / 200],
] as const) {
  await useBackend(backend);
  await benchmark(size, mebibytes * MIB, backend, syncBar);
}

/** One round: milliseconds, and of `bytes` the bytes written. */
interface Round {
  readonly sync: number;
  readonly mainThread: number;
  readonly durable: number;
  readonly bytes: number;
  readonly modelSave: number;
  readonly plain: number;
  readonly dd: number;
  readonly torchSave: number | undefined;
  readonly torchDurable: number | undefined;
}

async function benchmark(
  size: string,
  stateBytes: number,
  backend: Backend,
  syncBar: number,
): Promise<void> {
  const folder = await makeFolder();
  const side = sideFor(stateBytes);
  const module = new BigModel(side);
  const torch = await startTorch(TENSORS, side);
  const tfjs = await startTfjs(side, backend);
  if (torch === undefined) note('PyTorch is not installed: apt-get install python3-torch');
  const state = TENSORS * side * side * 4;
  const checkpoint = new ModelCheckpoint({
    dirpath: folder,
    monitor: 'step',
    mode: 'max',
    saveTopK: 3,
    saveLast: true,
    everyNTrainSteps: Number.MAX_SAFE_INTEGER,
  });
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    maxEpochs: 1,
    callbacks: checkpoint,
  });
  const rounds: Round[] = [];

  /** The batches of an epoch: before each of them, one round. The first saves warm the code up. */
  async function* batches(): AsyncGenerator<number> {
    yield 0;
    yield 1;
    for (let i = 0; i < WARM_UPS; i++) {
      await checkpoint.saveCheckpoint(trainer);
      await checkpoint.flush();
      yield i;
    }
    for (let i = 0; i < ROUNDS; i++) {
      rounds.push(await oneRound());
      note(`${size}: round ${i + 1} of ${ROUNDS}`);
      yield i;
    }
  }

  async function oneRound(): Promise<Round> {
    let sync = Number.NaN;
    const mainThread = await mainThreadMs(async () => {
      const began = performance.now();
      await checkpoint.saveCheckpoint(trainer);
      sync = performance.now() - began;
      await checkpoint.flush();
    });
    // Removing what is not kept any more comes after it, here and for the peers.
    const { bytes = Number.NaN, writeMs = Number.NaN } = checkpoint.lastSave ?? {};
    const durable = sync + writeMs;
    const peer = join(folder, 'peer');
    const modelSave = await tfjs.modelSave(folder);
    const dd = ddMs(peer, state);
    await rm(peer, { force: true });
    const plain = await tfjs.writePlainly(peer);
    await rm(peer, { force: true });
    const torchSave = await torch?.save(peer);
    await rm(peer, { force: true });
    const torchDurable = await torch?.saveDurably(peer);
    await rm(peer, { force: true });
    return { sync, mainThread, durable, bytes, modelSave, plain, dd, torchSave, torchDurable };
  }

  try {
    await trainer.fit(module, { trainDataloaders: { [Symbol.asyncIterator]: batches } });
  } finally {
    torch?.close();
    tfjs.close();
    await rm(folder, { recursive: true, force: true });
    module.dispose();
  }
  const ms = (of: (found: Round) => number | undefined): string =>
    `${round(median(rounds.map((found) => of(found) ?? Number.NaN)))} ms`;
  const ratios = (of: (found: Round) => number | undefined): number[] =>
    rounds.map(of).filter((ratio) => ratio !== undefined);
  const over = (ours: number, peer: number | undefined): number | undefined =>
    peer === undefined ? undefined : ours / peer;
  report({
    benchmark: 'save',
    measure: 'sync-part',
    size,
    ratios: ratios(({ sync, torchSave }) => over(sync, torchSave)),
    bar: { atMost: syncBar },
    detail: `${ms(({ sync }) => sync)} in the hook, torch.save ${ms(({ torchSave }) => torchSave)}`,
  });
  report({
    benchmark: 'save',
    measure: 'main-thread',
    size,
    ratios: ratios(({ mainThread, modelSave }) => mainThread / modelSave),
    bar: { atMost: 1 / 50 },
    detail: `${ms(({ mainThread }) => mainThread)} of main thread, tfjs model.save ${ms(({ modelSave }) => modelSave)}`,
  });
  report({
    benchmark: 'save',
    measure: 'durable',
    size,
    ratios: ratios(({ durable, torchDurable }) => over(durable, torchDurable)),
    bar: { atMost: 1 },
    detail:
      `${ms(({ durable }) => durable)} until durable, torch.save + fdatasync ` +
      `${ms(({ torchDurable }) => torchDurable)}, plain write + fsync ${ms(({ plain }) => plain)}`,
  });
  report({
    benchmark: 'save',
    measure: 'throughput',
    size,
    ratios: ratios(({ durable, dd }) => dd / durable),
    bar: { atLeast: 0.9 },
    detail: `dd conv=fdatasync ${ms(({ dd }) => dd)}`,
  });
  report({
    benchmark: 'save',
    measure: 'bytes',
    size,
    ratios: ratios(({ bytes }) => bytes / state),
    bar: { atMost: 1.01 },
    detail: 'bytes written per save with the best three and the last, by the state',
  });
}

/** Milliseconds in which `dd` writes as many bytes durably, as it says itself. */
function ddMs(path: string, bytes: number): number {
  const count = Math.round(bytes / MIB);
  const args = ['if=/dev/zero', `of=${path}`, 'bs=1M', `count=${count}`, 'conv=fdatasync'];
  const { stderr } = spawnSync('dd', args, {
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C' },
  });
  const [, seconds] = / copied, ([\d.e-]+) s,/.exec(stderr) ?? [];
  return Number(seconds) * 1000;
}
