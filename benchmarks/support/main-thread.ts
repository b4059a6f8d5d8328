import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { setTimeout } from 'node:timers/promises';

/**
 * How long this thread works until `work` is done, in milliseconds. On Linux: the time that a processor ran it. Elsewhere
 * the time that its event loop did not wait, which counts what it stood aside for other threads too.
 */
export async function mainThreadMs(work: () => Promise<unknown>): Promise<number> {
  const before = await processorMs();
  const loopBefore = performance.eventLoopUtilization();
  await work();
  const { active } = performance.eventLoopUtilization(loopBefore);
  const after = await processorMs();
  return before === undefined || after === undefined ? active : after - before;
}

/** Source: Linux, `Documentation/scheduler/sched-stats.rst`: nanoseconds, brought up to date when a thread waits. */
async function processorMs(): Promise<number | undefined> {
  if (process.platform !== 'linux') return undefined;
  await setTimeout(2);
  const [nanoseconds] = (await readFile(`/proc/self/task/${process.pid}/schedstat`, 'utf8')).split(
    ' ',
  );
  return Number(nanoseconds) / 1e6;
}
