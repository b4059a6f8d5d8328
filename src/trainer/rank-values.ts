import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import type { ReduceFx } from './epoch-reduction.ts';
import type { Ranks } from './ranks.ts';
import type { Scalar } from './scalar.ts';
import type { BatchShare } from './share.ts';

/** One value, and how much it counts: a weight of 0 is not at all, and of copies a sum counts one. */
export interface SharedValue extends BatchShare {
  readonly value: number;
}

/** Of a rank that has logged nothing. */
const NOTHING: SharedValue = { value: Number.NaN, weight: 0, copies: 1 };

/** How many unread values are held before they are read. */
const MAX_UNREAD = 64;

/** What this rank has logged of a metric since the ranks put theirs together. */
export class RankValues {
  #values: SharedValue[] = [];
  #unread: { readonly scalar: Scalar; readonly share: BatchShare }[] = [];
  #reading: Promise<void> = Promise.resolve();

  add(scalar: Scalar, share: BatchShare): void {
    this.#unread.push({ scalar: scalar.share(), share });
    // What cannot be read is an error of `take`.
    if (this.#unread.length >= MAX_UNREAD) this.#read().catch(() => undefined);
  }

  get isEmpty(): boolean {
    return this.#values.length === 0 && this.#unread.length === 0;
  }

  /** All of it, in order; starts over. */
  async take(): Promise<readonly SharedValue[]> {
    await this.#read();
    return this.#values.splice(0);
  }

  #read(): Promise<void> {
    const unread = this.#unread.splice(0);
    this.#reading = this.#reading.then(async () => {
      for (const { scalar, share } of unread) {
        this.#values.push({ value: await scalar.value(), ...share });
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
  readonly values: readonly SharedValue[];
}

/**
 * What one process would have logged in place of the ranks, value by value: of a mean the mean of the ranks' shares
 * by their weights, of a sum their sum (once, when all have the same whole batch), and so on. Worked out in double precision, so that values which are the
 * same on all ranks come out as they are.
 *
 * @throws MisconfigurationError on every rank when they have not logged the same.
 */
export async function valuesOfAll(
  metrics: readonly RankMetric[],
  ranks: Ranks,
): Promise<readonly (readonly SharedValue[])[]> {
  checkAlike(await ranks.gather(spell(metrics)), ranks);
  const all = metrics.flatMap(({ reduceFx, values }) =>
    values.map((each) => (isExtreme(reduceFx) ? nanCount(each) : part(reduceFx, each))),
  );
  const weights = all.map(({ weight }) => weight);
  const sums = await ranks.reduce([...all.map(({ value }) => value), ...weights], 'sum');
  const [least, most] = await Promise.all([
    extremesOf('min', metrics, ranks),
    extremesOf('max', metrics, ranks),
  ]);
  let at = 0;
  return metrics.map(({ reduceFx, values }) =>
    values.map(({ copies }): SharedValue => {
      const sum = sums[at] ?? Number.NaN;
      const share = { weight: sums[all.length + at++] ?? 0, copies: 1 };
      if (reduceFx === 'mean') return { value: sum / share.weight, ...share };
      if (reduceFx === 'sum') return { value: sum / copies, ...share };
      const extreme = (reduceFx === 'min' ? least : most).shift() ?? Number.NaN;
      return { value: sum > 0 ? Number.NaN : extreme, ...share };
    }),
  );
}

/** {@link valuesOfAll} for metrics of one value each, with a single message. */
export async function valueOfAll(
  metrics: readonly RankMetric[],
  ranks: Ranks,
): Promise<readonly number[]> {
  const own = metrics.map(({ reduceFx, values: [only = NOTHING] }) => {
    const { value, weight } = part(reduceFx, only);
    return [value, weight];
  });
  const told = (await ranks.gather([spell(metrics), ...own])) as readonly (readonly JsonValue[])[];
  checkAlike(
    told.map(([spelt]) => spelt ?? null),
    ranks,
  );
  return metrics.map(({ reduceFx, values: [{ copies } = NOTHING] }, i) => {
    const parts = told.map((each) => each[i + 1] as unknown as readonly [number, number]);
    const values = parts.filter(([, weight]) => weight > 0).map(([value]) => value);
    if (isExtreme(reduceFx)) return Math[reduceFx](...values);
    const sum = values.reduce((all, value) => all + value, 0);
    const weight = parts.reduce((all, [, each]) => all + each, 0);
    return sum / (reduceFx === 'mean' ? weight : copies);
  });
}

/** What a value adds to a sum over the ranks. */
function part(reduceFx: ReduceFx, shared: SharedValue): SharedValue {
  const { value, weight } = shared;
  if (weight === 0) return { ...shared, value: 0 };
  return { ...shared, value: reduceFx === 'mean' ? value * weight : value };
}

function isExtreme(reduceFx: ReduceFx): reduceFx is 'min' | 'max' {
  return reduceFx === 'min' || reduceFx === 'max';
}

/** What a value whose extreme is looked for adds to a sum over the ranks: above 0, it is NaN somewhere. */
function nanCount({ value, weight, copies }: SharedValue): SharedValue {
  return { value: Number(weight > 0 && Number.isNaN(value)), weight, copies };
}

/** Without the NaN among them: what MPI makes of one differs from rank to rank. */
async function extremesOf(
  which: 'min' | 'max',
  metrics: readonly RankMetric[],
  ranks: Ranks,
): Promise<number[]> {
  const nothing = which === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  const own = metrics
    .filter(({ reduceFx }) => reduceFx === which)
    .flatMap(({ values }) => values)
    .map(({ value, weight }) => (weight === 0 || Number.isNaN(value) ? nothing : value));
  return own.length === 0 ? [] : [...(await ranks.reduce(own, which))];
}

/** What must be the same on every rank. */
function spell(metrics: readonly RankMetric[]): string {
  const each = metrics.map(({ name, reduceFx, values }) => {
    const how = reduceFx === 'mean' ? '' : ` (${reduceFx})`;
    return `'${name}'${how} ${values.length} times`;
  });
  return each.join(', ');
}

function checkAlike(spelt: readonly JsonValue[], ranks: Ranks): void {
  const other = spelt.findIndex((each) => each !== spelt[0]);
  if (other < 0) return;
  throw ranks.share(
    new MisconfigurationError(
      `log with syncDist: every rank must log the same metrics in the same hooks, but rank 0 has logged ` +
        `${String(spelt[0]) || 'none'}, and rank ${other} ${String(spelt[other]) || 'none'}.`,
    ),
  );
}
