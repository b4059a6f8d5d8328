import type { DataSource } from './data-source.ts';
import type { MetricStore } from './metrics.ts';
import type { Rng } from './rng.ts';

/** Runs something that must leave no trace, such as a sanity check: metrics, RNG and data stand as before. */
export async function withoutTrace(
  metrics: MetricStore,
  rng: Rng,
  sources: readonly DataSource[],
  run: () => Promise<void>,
): Promise<void> {
  const logged = await metrics.stateDict();
  const drawn = rng.stateDict();
  const positions = sources.map((source) => source.stateDict?.());
  await run();
  await metrics.clear();
  metrics.loadStateDict(logged);
  rng.loadStateDict(drawn);
  for (const [index, source] of sources.entries()) {
    const position = positions[index];
    if (position !== undefined) source.loadStateDict?.(position);
  }
}
