/**
 * What importing a file of PyTorch costs: `npm run bench -- interop [--json] [--rounds N]`. Every round reads the
 * file as it is and imports it (parsed, every checksum verified, every tensor's bytes handed over), from the
 * system's cache. Then, without a bar, it is made a durable checkpoint, and that is written for PyTorch again.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exportTorch, importTorch } from 'highwater/torch';
import { sideFor, TENSORS } from './support/big-model.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';
import { startTorch, type Torch } from './support/torch.ts';

const ROUNDS = roundsWanted(7);
const SIZE = '1 GB';

/** Rounds of what writes a gigabyte. */
const WRITING_ROUNDS = 3;

interface Cost {
  readonly ms: number;
  /** Of all threads of this process: what else runs on the machine changes it little. */
  readonly processorMs: number;
}

interface Reading {
  /** `readFile`: its bytes, in fresh memory, as the import has them. */
  readonly read: Cost;
  readonly imported: Cost;
  readonly torchLoad: number;
}

interface Writing {
  readonly saved: number;
  readonly exported: number;
  readonly torchSave: number;
}

const folder = await mkdtemp(join('runs', 'bench-'));
const torch = await startTorch(TENSORS, sideFor(2 ** 30));
const readings: Reading[] = [];
const writings: Writing[] = [];
try {
  if (torch === undefined) note('PyTorch is not installed: apt-get install python3-torch');
  else await measure(torch);
} finally {
  torch?.close();
  await rm(folder, { recursive: true, force: true });
}

async function measure(torch: Torch): Promise<void> {
  const theirs = join(folder, 'theirs.pt');
  await torch.save(theirs);
  const read = () => costOf(async () => (await readFile(theirs)).length);
  const imported = () =>
    costOf(async () => {
      const weights = await (await importTorch(theirs)).loadWeights();
      if (weights.length !== TENSORS) throw new Error(`${weights.length} tensors were read`);
    });
  for (let i = -2; i < ROUNDS; i++) {
    // By turns the one and the other is first.
    const before = i % 2 === 0 ? await read() : undefined;
    const importing = await imported();
    const reading = before ?? (await read());
    const found = { read: reading, imported: importing, torchLoad: await torch.load(theirs) };
    if (i >= 0) readings.push(found);
  }
  const checkpoint = join(folder, 'imported.ckpt');
  for (let i = 0; i < WRITING_ROUNDS; i++) {
    writings.push({
      saved: await timed(async () => {
        await (await importTorch(theirs)).save(checkpoint, { replace: true });
      }),
      exported: await timed(() =>
        exportTorch(checkpoint, join(folder, 'back.pt'), { replace: true }),
      ),
      torchSave: await torch.saveDurably(join(folder, 'again.pt')),
    });
  }
}

const ms = (values: readonly number[]): string => `${round(median(values))} ms`;
const importMs = ms(readings.map(({ imported }) => imported.ms));
const saveMs = ms(writings.map(({ torchSave }) => torchSave));
report({
  benchmark: 'interop',
  measure: 'import',
  size: SIZE,
  ratios: readings.map(({ imported, read }) => imported.ms / read.ms),
  bar: { atMost: 1.5 },
  detail: `${importMs} verified, reading the bytes ${ms(readings.map(({ read }) => read.ms))}`,
});
const importProcessor = ms(readings.map(({ imported }) => imported.processorMs));
report({
  benchmark: 'interop',
  measure: 'import, processor',
  size: SIZE,
  ratios: readings.map(({ imported, read }) => imported.processorMs / read.processorMs),
  bar: null,
  detail: `${importProcessor} on all threads, reading the bytes ${ms(readings.map(({ read }) => read.processorMs))}`,
});
report({
  benchmark: 'interop',
  measure: 'import ÷ torch',
  size: SIZE,
  ratios: readings.map(({ imported, torchLoad }) => imported.ms / torchLoad),
  bar: null,
  detail: `${importMs} verified, torch.load ${ms(readings.map(({ torchLoad }) => torchLoad))}`,
});
report({
  benchmark: 'interop',
  measure: 'to a .ckpt',
  size: SIZE,
  ratios: writings.map(({ saved, torchSave }) => saved / torchSave),
  bar: null,
  detail: `${ms(writings.map(({ saved }) => saved))} until durable, torch.save + fdatasync ${saveMs}`,
});
report({
  benchmark: 'interop',
  measure: 'export',
  size: SIZE,
  ratios: writings.map(({ exported, torchSave }) => exported / torchSave),
  bar: null,
  detail: `${ms(writings.map(({ exported }) => exported))} until durable, torch.save + fdatasync ${saveMs}`,
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage();
  const ms = await timed(work);
  const { user, system } = process.cpuUsage(before);
  return { ms, processorMs: (user + system) / 1000 };
}
