// The closing line of .ci/run: the sum of what the vitest runs wrote into the folder of reports.
import { readdirSync, readFileSync } from 'node:fs';

const [folder, status] = process.argv.slice(2);
let passed = 0;
let failed = 0;
let skipped = 0;
for (const name of readdirSync(folder)) {
  const report = JSON.parse(readFileSync(`${folder}/${name}`, 'utf8'));
  passed += report.numPassedTests;
  failed += report.numFailedTests;
  skipped += report.numPendingTests + report.numTodoTests;
}
// What failed was not a test: another step, or a test file that did not load. Still never `0 failed`.
if (status !== '0' && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed${skipped === 0 ? '' : `, ${skipped} skipped`}`);
