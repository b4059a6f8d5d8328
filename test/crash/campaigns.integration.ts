import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

/** Runs a campaign, and returns what its last line says. */
function campaign(script: string, ...args: string[]): Record<string, number> {
  const command = ['--import', 'tsx', `scripts/${script}.ts`, '--json', ...args];
  const output = execFileSync(process.execPath, command, { encoding: 'utf8' });
  return JSON.parse(output.trim().split('\n').at(-1) ?? '') as Record<string, number>;
}

it('nothing that was promised is lost when the power is cut twice', () => {
  const workloads = ['best-2-and-link', 'weights-and-full', 'resumed', 'without-links'];
  const args = workloads.flatMap((name) => ['--workload', name]);
  const found = campaign('crash-model', '--cuts', '2', ...args);
  expect(found).toMatchObject({ workloads: 4, violations: 0 });
  expect(found.diskStates).toBeGreaterThan(500);
}, 300_000);

it('the tests notice when a flush, an atomic change of a name or an order is taken away', () => {
  const { mutants, noticed, problems } = campaign('crash-mutants', '--every', '4');
  expect({ noticed, problems }).toEqual({ noticed: mutants, problems: 0 });
  expect(mutants).toBeGreaterThan(5);
}, 300_000);

it('nothing is lost, unclear or left behind when a call of the system fails', () => {
  const { runs, problems } = campaign('crash-faults', '--every', '5');
  expect(problems).toBe(0);
  expect(runs).toBeGreaterThan(500);
}, 300_000);
