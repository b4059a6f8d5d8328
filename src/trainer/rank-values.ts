import { MisconfigurationError } from '../errors.ts';
import type { ReduceFx } from './epoch-reduction.ts';
import type { Ranks } from './ranks.ts';
import type { Scalar } from './scalar.ts';

/** One value, and how much it counts: 0 is not at all. */
export interface WeightedValue {
  readonly value: number;
  readonly weight: number;
}

/** How many unread values are held before they are read. */
const MAX_UNREAD = 64;

/** What this rank has logged of a metric since the ranks put theirs together. */
export class RankValues {
  #values: WeightedValue[] = [];
  #unread: { readonly scalar: Scalar; readonly weight: number }[] = [];
  #reading: Promise<void> = Promise.resolve();

  add(scalar: Scalar, weight: number): void {
    this.#unread.push({ scalar: scalar.share(), weight });
    if (this.#unread.length >= MAX_UNREAD) void this.#read();
  }

  /** All of it, in order; starts over. */
  async take(): Promise<readonly WeightedValue[]> {
    await this.#read();
    return this.#values.splice(0);
  }

  #read(): Promise<void> {
    const unread = this.#unread.splice(0);
    this.#reading = this.#reading.then(async () => {
      for (const { scalar, weight } of unread) {
        this.#values.push({ value: await scalar.value(), weight });
        scalar.release();
      }
    });
    return this.#reading;
  }
}

/** The values of one metric on this rank. */
export interface RankMetric {
  readonly name: string;
  readonly reduceFx: ReduceFx;
  readonly values: readonly WeightedValue[];
}

/**
 * What one process would have logged in place of the ranks, value by value: of a mean the mean of the ranks' shares
 * by their weights, of a sum their sum, and so on. Worked out in double precision, so that values which are the same on
 * all ranks come out as they are.
 *
 * @throws MisconfigurationError on every rank when they have not logged the same.
 */
export async function valuesOfAll(
  metrics: readonly RankMetric[],
  ranks: Ranks,
): Promise<readonly (readonly WeightedValue[])[]> {
  await checkAlike(metrics, ranks);
  const weighted = metrics.flatMap(({ reduceFx, values }) =>
    values.flatMap(({ value, weight }) => [
      weight === 0 ? 0 : value * (reduceFx === 'mean' ? weight : 1),
      weight,
    ]),
  );
  const sums = [...(await ranks.reduce(weighted, 'sum'))];
  const extremes = {
    min: [...(await extremesOf('min', metrics, ranks))],
    max: [...(await extremesOf('max', metrics, ranks))],
  };
  return metrics.map(({ reduceFx, values }) =>
    values.map((): WeightedValue => {
      const [sum = 0, weight = 0] = sums.splice(0, 2);
      if (reduceFx === 'mean') return { value: sum / weight, weight };
      if (reduceFx === 'sum') return { value: sum, weight };
      return { value: extremes[reduceFx].shift() ?? Number.NaN, weight };
    }),
  );
}

async function extremesOf(
  which: 'min' | 'max',
  metrics: readonly RankMetric[],
  ranks: Ranks,
): Promise<readonly number[]> {
  const nothing = which === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  const own = metrics
    .filter(({ reduceFx }) => reduceFx === which)
    .flatMap(({ values }) => values.map(({ value, weight }) => (weight === 0 ? nothing : value)));
  return own.length === 0 ? own : await ranks.reduce(own, which);
}

async function checkAlike(metrics: readonly RankMetric[], ranks: Ranks): Promise<void> {
  const own = metrics.map(({ name, values }) => `'${name}' ${values.length} times`).join(', ');
  const all = await ranks.gather(own);
  const other = all.findIndex((each) => each !== all[0]);
  if (other < 0) return;
  throw ranks.share(
    new MisconfigurationError(
      `log with syncDist: every rank must log the same metrics in the same hooks, but rank 0 has logged ` +
        `${all[0] || 'none'}, and rank ${other} ${all[other] || 'none'}.`,
    ),
  );
}
