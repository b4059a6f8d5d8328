import { HighwaterError } from '../../src/errors.ts';
import type { NumberBuffer, Strategy } from '../../src/strategies/strategy.ts';

interface Arrival {
  readonly values: readonly unknown[];
  readonly resolve: (all: unknown[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Where all ranks meet: the nth call of each is one meeting. */
class Meetings {
  readonly #size: number;
  readonly #waiting = new Map<number, Arrival[]>();
  #end: ((error: unknown) => void)[] = [];
  #error: unknown;

  constructor(size: number) {
    this.#size = size;
  }

  /** What all ranks bring to their nth meeting. */
  async meet<T>(n: number, kind: string, rank: number, value: T): Promise<readonly T[]> {
    if (this.#error !== undefined) throw this.#error;
    const there = this.#waiting.get(n) ?? [];
    this.#waiting.set(n, there);
    const result = new Promise<unknown[]>((resolve, reject) => {
      there.push({ values: [rank, kind, value], resolve, reject });
      this.#end.push(reject);
    });
    if (there.length === this.#size) {
      this.#waiting.delete(n);
      const sorted = there.map(({ values }) => values).sort(([a], [b]) => Number(a) - Number(b));
      const kinds = new Set(sorted.map(([, each]) => each));
      const error = new HighwaterError(
        'STRATEGY_FAILED',
        `the ranks call ${[...kinds].join(' and ')}`,
      );
      for (const { resolve, reject } of there) {
        if (kinds.size > 1) reject(error);
        else resolve(sorted.map(([, , each]) => each));
      }
    }
    return (await result) as T[];
  }

  end(error: unknown): void {
    this.#error = error;
    for (const reject of this.#end.splice(0)) reject(error);
  }
}

/**
 * A job whose ranks all live in this process and meet in memory: what the Trainer does with ranks, without a
 * launcher. When one aborts, all fail.
 */
export function localRanks(worldSize: number): readonly Strategy[] {
  const meetings = new Meetings(worldSize);
  return Array.from({ length: worldSize }, (_, rank): Strategy => {
    let calls = 0;
    const meet = <T>(kind: string, value: T) => meetings.meet(calls++, kind, rank, value);
    const add = async (bucket: NumberBuffer): Promise<void> => {
      const all = await meet(`add ${bucket.length}`, bucket.slice());
      bucket.fill(0);
      for (const part of all) for (let i = 0; i < part.length; i++) bucket[i]! += part[i]!;
    };
    return {
      name: 'local',
      rank,
      worldSize,
      isGlobalZero: rank === 0,
      setup: async () => undefined,
      teardown: async () => undefined,
      barrier: async () => void (await meet('barrier', null)),
      broadcast: async (value) => structuredClone((await meet('broadcast', value))[0]!),
      broadcastTensor: async (bytes) => {
        const [first] = await meet(`bytes ${bytes.length}`, bytes.slice());
        bytes.set(first!);
      },
      reduceGradients: async (buckets) => void (await Promise.all(buckets.map(add))),
      reduceBoolean: async (value, over) => {
        const all = await meet(`boolean ${over}`, value);
        return over === 'any' ? all.some(Boolean) : all.every(Boolean);
      },
      reduce: async (values, how) => {
        const all = await meet(`reduce ${how} ${values.length}`, values);
        const columns = values.map((_, i) => all.map((row) => row[i]!));
        if (how === 'sum') return columns.map((column) => column.reduce((a, b) => a + b));
        // Like MPICH: what becomes of a NaN depends on the rank.
        const keeps = (a: number, b: number): boolean => (how === 'min' ? a < b : a > b);
        return columns.map((column) =>
          column.reduce((a, b) => (keeps(b, a) ? b : a), column[rank]!),
        );
      },
      gather: async (value) => structuredClone(await meet('gather', value)),
      abort: async (error) => {
        meetings.end(error);
        throw error;
      },
    };
  });
}
