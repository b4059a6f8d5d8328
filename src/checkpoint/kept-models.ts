import { isBetter, type Mode } from './monitor.ts';
import { SortedMap } from './sorted-map.ts';

interface KeptModel {
  readonly path: string;
  readonly score: number;
  /** Counts up: which of two was saved earlier. */
  readonly age: number;
}

/**
 * The kept files and their scores, in the order they were saved. Immutable, as the state that it is part of;
 * every operation but listing all takes time logarithmic in the number of files.
 */
export class KeptModels {
  readonly #byPath: SortedMap<string, KeptModel>;
  readonly #byAge: SortedMap<number, KeptModel>;
  readonly #byScore: SortedMap<Pick<KeptModel, 'score' | 'age'>, KeptModel>;
  /** The highest age that was ever given: none is given twice, even when its file is gone. */
  readonly #newest: number;

  private constructor(
    byPath: SortedMap<string, KeptModel>,
    byAge: SortedMap<number, KeptModel>,
    byScore: SortedMap<Pick<KeptModel, 'score' | 'age'>, KeptModel>,
    newest: number,
  ) {
    this.#byPath = byPath;
    this.#byAge = byAge;
    this.#byScore = byScore;
    this.#newest = newest;
  }

  static readonly none: KeptModels = new KeptModels(
    SortedMap.empty(compare),
    SortedMap.empty(compare),
    SortedMap.empty((a, b) => compare(a.score, b.score) || a.age - b.age),
    0,
  );

  static from(entries: Iterable<readonly [path: string, score: number]>): KeptModels {
    let kept = KeptModels.none;
    for (const [path, score] of entries) kept = kept.with(path, score);
    return kept;
  }

  get size(): number {
    return this.#byPath.size;
  }

  has(path: string): boolean {
    return this.#byPath.get(path) !== undefined;
  }

  get(path: string): number | undefined {
    return this.#byPath.get(path)?.score;
  }

  /** Of two files, that with the lower age was saved earlier; undefined when it is not among them. */
  ageOf(path: string): number | undefined {
    return this.#byPath.get(path)?.age;
  }

  /**
   * With one more, the newest; or with another score at the place of the one that has this path.
   *
   * @param returning the age that it had here before it was taken out: it goes back to its place.
   */
  with(path: string, score: number, returning?: number): KeptModels {
    const old = this.#byPath.get(path);
    const age = old?.age ?? returning ?? this.#newest + 1;
    const model = { path, score, age };
    const byScore = old === undefined ? this.#byScore : this.#byScore.without(old);
    return new KeptModels(
      this.#byPath.with(path, model),
      this.#byAge.with(age, model),
      byScore.with(model, model),
      Math.max(age, this.#newest),
    );
  }

  without(path: string): KeptModels {
    const old = this.#byPath.get(path);
    if (old === undefined) return this;
    return new KeptModels(
      this.#byPath.without(path),
      this.#byAge.without(old.age),
      this.#byScore.without(old),
      this.#newest,
    );
  }

  /** With one file under another name, at its place. */
  renamed(from: string, to: string): KeptModels {
    const old = this.#byPath.get(from);
    return old === undefined ? this : this.without(from).with(to, old.score, old.age);
  }

  /** The best, the oldest among equals; undefined when there is none. */
  best(mode: Mode): readonly [path: string, score: number] | undefined {
    return this.#oldestWith(isBetter(mode, 0, 1) ? this.#byScore.first() : this.#byScore.last());
  }

  /** The worst, the oldest among equals; undefined when there is none. */
  worst(mode: Mode): readonly [path: string, score: number] | undefined {
    return this.#oldestWith(isBetter(mode, 0, 1) ? this.#byScore.last() : this.#byScore.first());
  }

  #oldestWith(
    entry: readonly [unknown, KeptModel] | undefined,
  ): readonly [path: string, score: number] | undefined {
    if (entry === undefined) return undefined;
    const oldest = this.#byScore.first({ score: entry[1].score, age: 0 })?.[1];
    return oldest && [oldest.path, oldest.score];
  }

  *[Symbol.iterator](): MapIterator<[path: string, score: number]> {
    for (const [, { path, score }] of this.#byAge) yield [path, score];
  }
}

function compare<T extends string | number>(a: T, b: T): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
