/**
 * Cuts the power at every moment of small trainings, on a model of a disk that keeps no more than POSIX
 * promises, and again at every moment of the training that goes on; checks every state that the disk may then
 * be in: `npm run crash:model -- [--workload NAME] [--cuts 1|2] [--bail] [--json]`. Exit code 1 when a promise
 * is broken. `--bail` stops at the first.
 */
import { parseArgs } from 'node:util';
import { explore } from '../test/crash/model/explore.ts';
import { workloads } from '../test/crash/model/workloads.ts';

const { values } = parseArgs({
  options: {
    workload: { type: 'string', multiple: true, default: workloads.map(({ name }) => name) },
    cuts: { type: 'string', default: '2' },
    bail: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
  },
});
const chosen = workloads.filter(({ name }) => values.workload.includes(name));
const unknown = values.workload.filter(
  (name) => !chosen.some((workload) => workload.name === name),
);
if (unknown.length > 0 || !['1', '2'].includes(values.cuts)) {
  console.error(`workloads: ${workloads.map(({ name }) => name).join(', ')}; cuts: 1 or 2`);
  process.exit(2);
}

const began = performance.now();
const total = { workloads: 0, crashPoints: 0, diskStates: 0, checks: 0, violations: 0 };
for (const workload of chosen) {
  const found = await explore(workload, { powerCuts: Number(values.cuts) });
  total.workloads += 1;
  total.crashPoints += found.crashPoints;
  total.diskStates += found.diskStates;
  total.checks += found.checks;
  total.violations += found.violations.length;
  if (!values.json) console.log(line(found));
  for (const violation of found.violations) console.error(`${workload.name}: ${violation}`);
  if (values.bail && found.violations.length > 0) break;
}
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
const result = { ...total, seconds };
if (values.json) console.log(JSON.stringify(result));
else console.log(`${line({ workload: 'in all', ...total })}  in ${seconds} s`);
process.exitCode = total.violations === 0 ? 0 : 1;

function line(found: {
  readonly workload: string;
  readonly crashPoints: number;
  readonly diskStates: number;
  readonly checks: number;
}): string {
  const { workload, crashPoints, diskStates, checks } = found;
  return (
    `${workload.padEnd(20)} ${String(crashPoints).padStart(6)} crash points ` +
    `${String(diskStates).padStart(6)} disk states ${String(checks).padStart(6)} checks`
  );
}
