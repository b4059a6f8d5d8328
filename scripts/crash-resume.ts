/**
 * Stops runs of random configurations at each of their checkpoints, resumes them, and compares everything with
 * the unbroken run: `npm run crash:resume -- [--runs N] [--seed S] [--json]`. The configurations of the table
 * come first. Exit code 1 when anything differs.
 */
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { anyConfiguration, CONFIGURATIONS } from '../test/resume/configuration.ts';
import { stopAnywhere } from '../test/resume/stop-anywhere.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    json: { type: 'boolean', default: false },
  },
});
const runs = Number(values.runs);
const seed = Number(values.seed);
if (!Number.isSafeInteger(runs) || runs < 1 || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run crash:resume -- [--runs N] [--seed S] [--json]');
  process.exit(2);
}

const began = performance.now();
const fixed = Object.values(CONFIGURATIONS);
const random = fc.sample(anyConfiguration, { numRuns: runs, seed });
let [resumes, different] = [0, 0];
for (const [index, configuration] of [...fixed, ...random].slice(0, runs).entries()) {
  const { tried, problems } = await stopAnywhere(configuration);
  resumes += tried;
  if (problems.length > 0) different++;
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) console.error(`with ${JSON.stringify(configuration)}`);
  if (!values.json)
    console.log(`run ${index + 1} of ${runs}: ${tried} resumes, ${problems.length} problems`);
}
const seconds = Number(((performance.now() - began) / 1000).toFixed(1));
const result = { runs, resumes, equal: different === 0, different, seconds };
console.log(values.json ? JSON.stringify(result) : `exact resume: ${JSON.stringify(result)}`);
process.exitCode = different === 0 ? 0 : 1;
