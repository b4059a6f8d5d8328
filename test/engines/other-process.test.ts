import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { printedState } from './print-state.ts';

it.each(['tfjs', 'jax'])('%s gives the same names and bits in every process', async (engine) => {
  const script = ['--import', 'tsx', 'test/engines/print-state.ts', engine];
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [...script, '2']);
  const here = await printedState(engine, 0);
  expect(here.split('\n').length).toBeGreaterThan(5);
  expect(stdout.trim()).toBe(here);
});
