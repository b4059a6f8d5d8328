import type { Logger } from '../loggers/logger.ts';
import type { Hooks } from './hooks.ts';
import type { MetricStore } from './metrics.ts';
import type { Progress } from './progress.ts';

/** One row for every logger, unless there is nothing in it. Steps are 0-based, as Lightning's loggers have them. */
export async function logRow(
  hooks: Hooks,
  loggers: readonly Logger[],
  metrics: MetricStore,
  names: readonly string[],
  { epoch, globalStep }: Progress,
): Promise<void> {
  if (loggers.length === 0) return;
  const values = await metrics.loggable(names);
  if (Object.keys(values).length === 0) return;
  const row = { epoch, ...values };
  for (const logger of loggers) {
    await hooks.apart('logMetrics', () => logger.logMetrics(row, Math.max(0, globalStep - 1)));
  }
}
