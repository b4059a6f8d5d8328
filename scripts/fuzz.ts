/**
 * Reads and resumes from damaged and hostile checkpoints, until the time is up: `npm run fuzz -- [--seconds N]
 * [--seed S] [--json]`. Each must be refused with its place, or give the true values; none may fail otherwise, take
 * long, take memory beyond its size, change a prototype or touch a file outside the run's folder. Exit code 1 when
 * one does.
 */
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { type TensorWithBytes, writeCheckpoint } from '../test/format/checkpoint-bytes.ts';
import { HOSTILE, pathsIn, replaceAt } from '../test/hostile/hostile-values.ts';
import { anyDamage, damaged } from '../test/hostile/mutate-bytes.ts';
import { complaintOf, contentOf } from '../test/hostile/read-damaged.ts';
import { RichRun } from '../test/hostile/rich-run.ts';

/** A file that is refused takes a moment, however large it says it is. */
const MOST_MS = 5_000;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const seed = Number(values.seed);
if (!(seconds > 0 && seconds < 1e6) || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run fuzz -- [--seconds N] [--seed S] [--json]');
  process.exit(2);
}

const run = await RichRun.begin();
const { document, tensors } = run.parts;
const small = writeCheckpoint(document, tensors);
const big: TensorWithBytes = {
  group: 'model',
  name: 'big',
  dtype: 'F32',
  shape: [1024, 768],
  bytes: new Uint8Array(1024 * 768 * 4).map((_, i) => i * 7),
};
const large = writeCheckpoint(document, [...tensors, big]);
const files = [small, small, small, large];
const truths = new Map<Uint8Array, readonly unknown[]>();
for (const file of [small, large]) truths.set(file, await contentOf(file));
const places = [...pathsIn(document)];

const problems: string[] = [];
const counts = { damaged: 0, documents: 0 };
let slowestMs = 0;
const began = performance.now();
const isOver = (): boolean => performance.now() - began > seconds * 1000;

async function timed(what: string, work: () => Promise<string | undefined>): Promise<void> {
  const start = performance.now();
  const problem = await work();
  const ms = performance.now() - start;
  slowestMs = Math.max(slowestMs, ms);
  if (problem !== undefined) problems.push(`${what}: ${problem}`);
  if (ms > MOST_MS) problems.push(`${what}: it took ${Math.round(ms)} ms`);
}

for (let round = 0; !isOver() && problems.length < 20; round++) {
  const rounds = { seed: seed + round, numRuns: 100 };
  for (const damage of fc.sample(fc.array(anyDamage, { minLength: 1, maxLength: 3 }), rounds)) {
    const file = files[counts.damaged++ % files.length] as Uint8Array;
    const bytes = damage.reduce(damaged, file);
    await timed(JSON.stringify(damage), () => complaintOf(bytes, truths.get(file) ?? []));
    if (isOver()) break;
  }
  const change = fc.record({
    place: fc.constantFrom(...places),
    value: fc.constantFrom(...HOSTILE),
  });
  for (const changes of fc.sample(fc.array(change, { minLength: 1, maxLength: 3 }), rounds)) {
    if (isOver()) break;
    counts.documents++;
    let hostile = document;
    for (const { place, value } of changes) {
      // An earlier change may have taken the place away.
      if ([...pathsIn(hostile)].some((path) => path.join('\0') === place.join('\0'))) {
        hostile = replaceAt(hostile, place, value);
      }
    }
    await timed(JSON.stringify(changes), () => run.complaint(hostile));
  }
}
run.end();

const maxRssMb = Math.round(process.resourceUsage().maxRSS / 1024);
for (const problem of problems) console.error(problem);
const result = {
  ...counts,
  problems: problems.length,
  slowestMs: Math.round(slowestMs),
  maxRssMb,
  seconds: Number(((performance.now() - began) / 1000).toFixed(1)),
};
console.log(values.json ? JSON.stringify(result) : `fuzz: ${JSON.stringify(result)}`);
process.exitCode = problems.length === 0 ? 0 : 1;
