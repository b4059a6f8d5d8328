import type { PlannedSave } from '../checkpoint/decide.ts';
import { MisconfigurationError } from '../errors.ts';
import type { JsonValue } from '../format/json.ts';
import { errorFromJson, errorToJson } from './carried-error.ts';
import type { Ranks } from './ranks.ts';

const MUST_BE_THE_SAME = 'Give every rank the same callbacks, with the same options.';

/** What rank 0's saver found out about a file after it was decided on. */
export type Happening =
  | { readonly kind: 'renamed'; readonly from: string; readonly to: string }
  /** `owner`: which of the callbacks, by its index. */
  | { readonly kind: 'saveFailed'; readonly owner: number; readonly save: PlannedSave };

/** What rank 0 learnt while it decided, and what has happened meanwhile, in order. */
type Entry =
  | readonly ['fact', JsonValue]
  | readonly ['refused', JsonValue]
  | readonly ['happened', Happening]
  | readonly ['failed', JsonValue]
  | readonly ['decided', JsonValue];

/**
 * One broadcast for all decisions of a hook. Rank 0 decides first and records what it found out on the way:
 * times, metrics, names that are taken. The others then decide by the same rules on the same facts, so that
 * every rank holds the same state.
 */
export class SharedFacts {
  readonly #ranks: Ranks;
  readonly #apply: (happening: Happening) => void;
  /** Of the round that runs: being written on rank 0, being read on the others. */
  #entries: Entry[] | undefined;
  /** What has happened on rank 0 since the last round. */
  #between: Entry[] = [];

  /** @param apply tells the callbacks of this rank what has happened to a file of theirs. */
  constructor(ranks: Ranks, apply: (happening: Happening) => void) {
    this.#ranks = ranks;
    this.#apply = apply;
  }

  /** Rank 0's answer to a question. Outside a round each is a broadcast of its own. */
  async ask<T extends JsonValue>(find: () => T | Promise<T>): Promise<T> {
    if (!this.#ranks.areMany) return await find();
    if (this.#entries === undefined) return await this.#ranks.fromZero(find);
    if (!this.#ranks.isZero) return this.#nextFact() as T;
    try {
      const answer = await find();
      this.#entries?.push(['fact', answer]);
      return answer;
    } catch (error) {
      this.#entries?.push(['refused', errorToJson(error)]);
      throw error;
    }
  }

  /** Tells the callbacks of this rank, which is rank 0, and those of the others with the next round. */
  happened(happening: Happening): void {
    this.#apply(happening);
    if (this.#ranks.areMany) (this.#entries ?? this.#between).push(['happened', happening]);
  }

  /**
   * Decides on rank 0, then on the others with its facts; an error of rank 0 is one of every rank. A round within a round
   * is part of it.
   *
   * @param decided what came of it, which must be the same on every rank.
   * @throws MisconfigurationError on a rank that has decided otherwise than rank 0.
   */
  async round(decide: () => Promise<void>, decided: () => JsonValue = () => null): Promise<void> {
    if (!this.#ranks.areMany || this.#entries !== undefined) await decide();
    else if (this.#ranks.isZero) await this.#lead(decide, decided);
    else await this.#follow(decide, decided);
  }

  async #lead(decide: () => Promise<void>, decided: () => JsonValue): Promise<void> {
    const entries = this.#between;
    this.#entries = entries;
    this.#between = [];
    let failure: { readonly error: unknown } | undefined;
    try {
      await decide();
      entries.push(['decided', decided()]);
    } catch (error) {
      failure = { error };
      entries.push(['failed', errorToJson(error)]);
    }
    this.#entries = undefined;
    await this.#ranks.broadcast(entries as unknown as JsonValue);
    if (failure !== undefined) throw this.#ranks.share(failure.error);
  }

  async #follow(decide: () => Promise<void>, decided: () => JsonValue): Promise<void> {
    const entries = (await this.#ranks.broadcast(null)) as unknown as Entry[];
    const failed = entries.find((entry) => entry[0] === 'failed');
    this.#entries = entries;
    try {
      await decide();
    } catch (error) {
      if (failed !== undefined) this.#ranks.share(error);
      throw error;
    } finally {
      this.#applyAll();
      this.#entries = undefined;
    }
    if (failed !== undefined) throw this.#ranks.share(errorFromJson(failed[1]));
    const [own, ofZero] = [decided(), entries.pop()?.[1]].map((each) => JSON.stringify(each));
    if (own === ofZero && entries.length === 0) return;
    throw new MisconfigurationError(
      `This rank has decided otherwise than rank 0: ${own}, not ${ofZero}. ${MUST_BE_THE_SAME}`,
      { details: { own, ofZero } },
    );
  }

  #nextFact(): JsonValue {
    this.#applyAll();
    const [kind, value] = (this.#entries?.shift() ?? []) as unknown as readonly [
      Entry[0]?,
      JsonValue?,
    ];
    if (kind === 'fact') return value ?? null;
    throw kind === 'failed' || kind === 'refused'
      ? errorFromJson(value ?? null)
      : new MisconfigurationError(`This rank asked more than rank 0 did. ${MUST_BE_THE_SAME}`);
  }

  /** Those that come before the next fact. */
  #applyAll(): void {
    while (this.#entries?.[0]?.[0] === 'happened') {
      const [, happening] = this.#entries.shift() as readonly ['happened', Happening];
      this.#apply(happening);
    }
  }
}
