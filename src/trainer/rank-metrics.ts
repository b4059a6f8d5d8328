import type { JsonObject, JsonValue } from '../format/json.ts';
import type { ReduceFx } from './epoch-reduction.ts';

/** The values of an epoch so far, on one rank or on all. */
export interface PartialValue {
  readonly sum: number;
  readonly weight: number;
}

const COMBINE: Readonly<Record<ReduceFx, (a: number, b: number) => number>> = {
  mean: (a, b) => Math.fround(a + b),
  sum: (a, b) => Math.fround(a + b),
  min: Math.min,
  max: Math.max,
};

/** What several ranks have reduced so far, as one rank would have it. In the order of the ranks. */
export function combined(reduceFx: ReduceFx, parts: readonly PartialValue[]): PartialValue {
  const [first = { sum: 0, weight: 0 }, ...rest] = parts.filter(({ weight }) => weight > 0);
  return rest.reduce(
    (all, { sum, weight }) => ({
      sum: COMBINE[reduceFx](all.sum, sum),
      weight: all.weight + weight,
    }),
    first,
  );
}

/** A running metric as `MetricStore.stateDict` has it: its name, options, values so far, and hook. */
type StoredRunning = readonly [
  string,
  { readonly syncDist?: boolean; readonly reduceFx?: ReduceFx },
  PartialValue,
  boolean?,
];

/**
 * The metrics that a rank goes on with. With as many ranks as the checkpoint was saved by each has its own; else
 * rank 0 has what all had together.
 *
 * @param ranks the running metrics of each rank that saved it; undefined when one process did.
 */
export function metricsOf(
  metrics: JsonValue,
  ranks: JsonValue | undefined,
  rank: number,
  worldSize: number,
): JsonValue {
  const stored = metrics as unknown as JsonObject & { readonly train: readonly StoredRunning[] };
  const saved = (ranks ?? [
    stored?.train ?? [],
  ]) as unknown as readonly (readonly StoredRunning[])[];
  if (saved.length === worldSize) return { ...stored, train: saved[rank] as unknown as JsonValue };
  const train = saved[0]?.map(([name, options, own, isBatchHook = true]): StoredRunning => {
    if (rank > 0) return [name, options, { ...own, weight: 0 }, isBatchHook];
    if (options.syncDist !== true) return [name, options, own, isBatchHook];
    const parts = saved.flatMap((each) =>
      each.filter(([other, , , hook = true]) => other === name && hook === isBatchHook),
    );
    const all = combined(
      options.reduceFx ?? 'mean',
      parts.map(([, , part]) => part),
    );
    return [name, options, all, isBatchHook];
  });
  return { ...stored, train: train as unknown as JsonValue };
}
