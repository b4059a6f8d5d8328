/**
 * Lets each call of the operating system fail in turn, once and from there on, with every code that a disk is
 * known to answer with, in a whole training: `npm run crash:faults -- [--code ENOSPC] [--every N] [--json]`.
 * Exit code 1 when something is lost, unclear or left behind.
 */
import { parseArgs } from 'node:util';
import { FAULTS, type FaultCode, runWith } from '../test/crash/model/faults.ts';

const { values } = parseArgs({
  options: {
    code: { type: 'string', multiple: true, default: Object.keys(FAULTS) },
    every: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const codes = values.code.filter((code): code is FaultCode => code in FAULTS);
const every = Number(values.every);
if (codes.length < values.code.length || !Number.isSafeInteger(every) || every < 1) {
  console.error(`codes: ${Object.keys(FAULTS).join(', ')}; --every: an integer of at least 1`);
  process.exit(2);
}

const began = performance.now();
let [runs, problems] = [0, 0];
for (const code of codes) {
  for (const onSaveError of ['throw', 'warn'] as const) {
    for (const lasts of [false, true]) {
      for (let at = 0; ; at += every) {
        const run = await runWith({ code, at, lasts, onSaveError });
        runs += 1;
        problems += run.problems.length;
        const where = `${code}${lasts ? ' from here on' : ''}, '${onSaveError}'`;
        const call = `call ${at}, ${run.call?.operation} ${run.call?.paths}`;
        for (const problem of run.problems) console.error(`${where}, ${call}: ${problem}`);
        if (run.call !== undefined) continue;
        if (!values.json) console.log(`${where}: ${at} calls`);
        break;
      }
    }
  }
}
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
const result = { runs, problems, seconds };
console.log(
  values.json ? JSON.stringify(result) : `${runs} runs, ${problems} problems, ${seconds} s`,
);
process.exitCode = problems === 0 ? 0 : 1;
