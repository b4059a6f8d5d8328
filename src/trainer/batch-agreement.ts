import { MisconfigurationError } from '../errors.ts';
import type { FedBatch } from './batch-feed.ts';
import type { Ranks } from './ranks.ts';

/** What rounding may make of shares that add up to 1. */
const TOLERANCE = 1e-6;

/**
 * Sees that all ranks stand at the same place of the data, and that their shares are those of one whole batch. A rank
 * whose data ends before that of the others would leave them waiting; one with other data would be counted wrongly.
 *
 * @param fed what this rank's data has given; undefined: it has ended.
 * @throws MisconfigurationError on every rank, saying what each has.
 */
export async function agreeOnBatch(
  ranks: Ranks,
  fed: FedBatch | undefined,
  data: string,
  batchIdx: number,
): Promise<void> {
  if (!ranks.areMany) return;
  const weight = fed?.weight ?? 1 / ranks.count;
  const isUndivided = fed !== undefined && fed.weight === undefined;
  const own = [fed === undefined, fed?.isLast === true, isUndivided, weight].map(Number);
  const [ended = 0, last = 0, undivided = 0, whole = 0] = await ranks.reduce(own, 'sum');
  const isSame = [ended, last, undivided].every((count) => count === 0 || count === ranks.count);
  if (isSame && (ended > 0 || Math.abs(whole - 1) < TOLERANCE)) return;
  const all = await ranks.gather(describe(fed));
  const each = all.map((has, rank) => `rank ${rank} has ${String(has)}`).join('; ');
  throw ranks.share(
    new MisconfigurationError(
      `The ranks do not have the same ${data} data. At its batch ${batchIdx}, counted from 0, ${each}. Give every ` +
        `rank the same items in the same order: a DataLoader, or a source with shard(rank, worldSize), divides them.`,
      { details: { batchIdx, ranks: all } },
    ),
  );
}

function describe(fed: FedBatch | undefined): string {
  if (fed === undefined) return 'reached its end';
  const { weight, isLast } = fed;
  const what =
    weight === undefined ? 'a whole batch' : `${Number(weight.toPrecision(6))} of a batch`;
  return isLast ? `${what}, its last` : what;
}
