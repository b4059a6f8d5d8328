import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { localFiles } from '../../../src/storages/local.ts';
import type { Storage } from '../../../src/storages/storage.ts';
import type { FolderNode } from './disk.ts';
import { checkpointsOn, storedCheckpoint } from './stored-checkpoint.ts';

/** A file that was saved at this step, or a later one. */
export interface PromisedFile {
  readonly step: number;
  /** By this process; undefined when a later one may go on with its files. */
  readonly process: number | undefined;
}

/** What must be on the disk from some moment on, whatever happens. */
export interface Promised {
  /** What each name must stand for. */
  readonly names: ReadonlyMap<string, PromisedFile>;
  /** The best score that each callback's files had, by its state key. */
  readonly bestScores: ReadonlyMap<string, number>;
  /** The newest step that can be resumed from. */
  readonly newestStep: number;
}

export const NOTHING: Promised = { names: new Map(), bestScores: new Map(), newestStep: 0 };

/** A process that trains. */
export interface Process {
  readonly storage: Storage;
  /** A save with these names is acknowledged. */
  acknowledged(paths: readonly string[]): void;
  /** `fit` has ended, and its callbacks keep these files. */
  kept(paths: readonly string[]): void;
}

/** For what was acknowledged and never written: no file will do. */
const NEVER: PromisedFile = { step: Number.POSITIVE_INFINITY, process: undefined };

/**
 * Keeps book of what has been promised: a save, when it is acknowledged; all that a hook has published, when
 * the first removal after it begins, since a removal must wait for its successors; all that is kept, when
 * `fit` ends. A name is promised no longer from the moment on at which its removal begins.
 */
export class Promises {
  readonly #root: FolderNode;
  #promised: Promised;

  /** @param before what earlier processes have promised. */
  constructor(root: FolderNode, before: Promised) {
    this.#root = root;
    const names = [...before.names].map(
      ([path, { step }]) => [path, { step, process: undefined }] as const,
    );
    this.#promised = { ...before, names: new Map(names) };
  }

  /** What is promised at this moment. */
  get now(): Promised {
    return this.#promised;
  }

  /** A process on these files; `number` when its files must stay its own. */
  process(fs: FileSystem, number: number | undefined): Process {
    const inner = localFiles({ fs });
    /** What it has published since the last save was acknowledged. */
    const published = new Set<string>();
    const naming = async <T>(path: string, work: Promise<T>): Promise<T> => {
      const result = await work;
      // `link` says false where there are no hard links.
      if (result !== false) published.add(path);
      return result;
    };
    const storage: Storage = {
      ...inner,
      async writer(path, options) {
        const writer = await inner.writer(path, options);
        const further: string[] = [];
        return {
          ...writer,
          async link(to) {
            const isGiven = await writer.link(to);
            if (isGiven) further.push(to);
            return isGiven;
          },
          async publish(how) {
            await naming(path, writer.publish(how));
            for (const name of further) published.add(name);
          },
        };
      },
      link: (from, to, how) => naming(to, inner.link(from, to, how)),
      symlink: (target, path, how) => naming(path, inner.symlink(target, path, how)),
      remove: (path) => {
        this.#promise(published, number);
        published.delete(path);
        this.#promiseNothing(path);
        return inner.remove(path);
      },
    };
    return {
      storage,
      acknowledged: (paths) => {
        const others = paths.filter((path) => !published.has(path));
        this.#promise([...published, ...others], number, others);
        published.clear();
      },
      kept: (paths) => this.#promise(paths, number),
    };
  }

  #promiseNothing(path: string): void {
    const names = new Map(this.#promised.names);
    names.delete(path);
    this.#promised = { ...this.#promised, names };
  }

  /** @param unwritten those of the paths that stand for nothing, or for something older. */
  #promise(
    paths: Iterable<string>,
    process: number | undefined,
    unwritten: readonly string[] = [],
  ): void {
    const names = new Map(this.#promised.names);
    const bestScores = new Map(this.#promised.bestScores);
    let { newestStep } = this.#promised;
    const files = checkpointsOn(this.#root);
    for (const path of paths) {
      const bytes = files.get(path);
      const stored = bytes && storedCheckpoint(bytes);
      if (typeof stored !== 'object' || unwritten.includes(path)) {
        names.set(path, NEVER);
        continue;
      }
      names.set(path, { step: stored.step, process });
      if (stored.isFull) newestStep = Math.max(newestStep, stored.step);
      const ranked = stored.ranked.get(path);
      if (ranked === undefined) continue;
      const best = bestScores.get(ranked.stateKey) ?? Number.POSITIVE_INFINITY;
      bestScores.set(ranked.stateKey, Math.min(best, ranked.score));
    }
    this.#promised = { names, bestScores, newestStep };
  }
}
