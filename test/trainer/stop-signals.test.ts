import { afterEach, expect, it } from 'vitest';
import { stopOnSignals } from '../../src/index.ts';

afterEach(() => {
  process.exitCode = undefined;
});

const received = (signal: AbortSignal): Promise<unknown> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(signal.reason)));

it.each([
  ['SIGUSR1', undefined],
  ['SIGTERM', 143],
] as const)('%s stops training in good order, once, and sets the exit code', async (name, code) => {
  const listeners = process.listenerCount(name);
  const signal = stopOnSignals([name]);
  expect(signal.aborted).toBe(false);
  const reason = received(signal);
  process.kill(process.pid, name);
  expect(await reason).toMatchObject({ name: 'AbortError', message: `${name} was received.` });
  expect(process.exitCode).toBe(code);
  // A second one has its usual effect.
  expect(process.listenerCount(name)).toBe(listeners);
});
