/**
 * What importing a file of PyTorch costs: `npm run bench -- interop [--json] [--rounds N]`. Every round reads the
 * file as it is, imports it (parsed, every checksum verified, every tensor's bytes handed over), turns it into a
 * durable checkpoint, and writes that for PyTorch again; all from the system's cache.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { exportTorch, importTorch } from 'highwater/torch';
import { sideFor, TENSORS } from './support/big-model.ts';
import { median, note, report, round, roundsWanted } from './support/measure.ts';
import { startTorch } from './support/torch.ts';

const ROUNDS = roundsWanted(7);
const SIZE = '1 GB';

interface Round {
  /** `readFile`: its bytes, in fresh memory, as the import has them. */
  readonly read: number;
  readonly imported: number;
  readonly load: number;
  readonly saved: number;
  readonly torchSave: number;
  readonly exported: number;
}

const folder = await mkdtemp(join('runs', 'bench-'));
const torch = await startTorch(TENSORS, sideFor(2 ** 30));
const rounds: Round[] = [];
try {
  if (torch === undefined) note('PyTorch is not installed: apt-get install python3-torch');
  else {
    const theirs = join(folder, 'theirs.pt');
    const checkpoint = join(folder, 'imported.ckpt');
    await torch.save(theirs);
    const read = () => timed(async () => (await readFile(theirs)).length);
    const imported = () =>
      timed(async () => {
        const weights = await (await importTorch(theirs)).loadWeights();
        if (weights.length !== TENSORS) throw new Error(`${weights.length} tensors were read`);
      });
    for (let i = -2; i < ROUNDS; i++) {
      const isEven = i % 2 === 0;
      const first = isEven ? await read() : await imported();
      const second = isEven ? await imported() : await read();
      const found: Round = {
        read: isEven ? first : second,
        imported: isEven ? second : first,
        load: await torch.load(theirs),
        saved: await timed(async () => {
          await (await importTorch(theirs)).save(checkpoint, { replace: true });
        }),
        torchSave: await torch.saveDurably(join(folder, 'again.pt')),
        exported: await timed(() =>
          exportTorch(checkpoint, join(folder, 'back.pt'), { replace: true }),
        ),
      };
      if (i >= 0) rounds.push(found);
    }
  }
} finally {
  torch?.close();
  await rm(folder, { recursive: true, force: true });
}

const ratios = (of: keyof Round, to: keyof Round): number[] =>
  rounds.map((found) => found[of] / found[to]);
const ms = (of: keyof Round): string => `${round(median(rounds.map((found) => found[of])))} ms`;
report({
  benchmark: 'interop',
  measure: 'import',
  size: SIZE,
  ratios: ratios('imported', 'read'),
  bar: { atMost: 1.5 },
  detail: `${ms('imported')} verified, reading the bytes ${ms('read')}`,
});
report({
  benchmark: 'interop',
  measure: 'import ÷ torch',
  size: SIZE,
  ratios: ratios('imported', 'load'),
  bar: null,
  detail: `${ms('imported')} verified, torch.load ${ms('load')}`,
});
report({
  benchmark: 'interop',
  measure: 'to a .ckpt',
  size: SIZE,
  ratios: ratios('saved', 'read'),
  bar: null,
  detail: `${ms('saved')} until durable, reading the bytes ${ms('read')}`,
});
report({
  benchmark: 'interop',
  measure: 'export',
  size: SIZE,
  ratios: ratios('exported', 'torchSave'),
  bar: null,
  detail: `${ms('exported')} until durable, torch.save + fdatasync ${ms('torchSave')}`,
});

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}
