// Replays the golden traces: `npm run test:parity [-- --only s0123] [-- --verbose]`.
// HIGHWATER_TRACES=<folder> replays another folder's files in place of the project's own.
import { parseArgs } from 'node:util';
import { replayFits } from './replay-fit.ts';
import { replayFormat } from './replay-format.ts';
import { replayInit } from './replay-init.ts';
import { readTraces, TRACES } from './trace.ts';

const { values: args } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    verbose: { type: 'boolean', default: false },
  },
});
const maxLines = args.verbose ? Number.POSITIVE_INFINITY : 5;

function print(title: string, lines: readonly string[]): void {
  console.log(title);
  for (const line of lines.slice(0, maxLines)) console.log(`  ${line}`);
  if (lines.length > maxLines) console.log(`  and ${lines.length - maxLines} more (--verbose)`);
}

const files = await readTraces(process.env.HIGHWATER_TRACES ?? TRACES);
const started = performance.now();
let passed = 0;
let total = 0;
for (const { name, fit } of files) {
  const rows = fit.filter(({ id }) => args.only?.includes(id) ?? true);
  for (const { row, found } of await replayFits(rows)) {
    total += 1;
    if (found.length === 0) passed += 1;
    else print(`${name} ${row.id} [${row.tags.join(', ')}]`, found);
    if (found.length === 0 && args.verbose) console.log(`${name} ${row.id} passes`);
  }
}
const format = replayFormat(files.flatMap((file) => file.format));
if (format.failures.length > 0) print('format', format.failures);
const init = replayInit(files.flatMap((file) => file.init));
if (init.failures.length > 0) print('init', init.failures);

console.log(`${((performance.now() - started) / 1000).toFixed(1)} s`);
console.log(
  `parity: ${passed} of ${total} scenarios, ${format.passed} of ${format.total} format rows, ` +
    `${init.passed} of ${init.total} init rows`,
);
const isPassed =
  passed === total &&
  format.passed === format.total &&
  init.passed === init.total &&
  files.length > 0;
process.exitCode = isPassed ? 0 : 1;
