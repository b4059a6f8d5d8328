import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { localFiles } from '../../../src/storages/local.ts';
import type { Storage } from '../../../src/storages/storage.ts';
import type { FolderNode } from './disk.ts';
import { checkpointsOn, storedCheckpoint } from './stored-checkpoint.ts';

/** What must be on the disk from some moment on, whatever happens. */
export interface Promised {
  /** The step that a name's file must have been saved at, or a later one. */
  readonly names: ReadonlyMap<string, number>;
  /** The best score that each callback's files had, by its state key. */
  readonly bestScores: ReadonlyMap<string, number>;
  /** The newest step that can be resumed from. */
  readonly newestStep: number;
}

export const NOTHING: Promised = { names: new Map(), bestScores: new Map(), newestStep: 0 };

/**
 * Keeps book of what has been promised: a save, when it is acknowledged; all that a hook has published, when
 * the first removal after it begins, since a removal must wait for its successors. A name is promised no
 * longer from the moment on at which its removal begins.
 */
export class Promises {
  readonly #root: FolderNode;
  #promised: Promised;

  /** @param promised what an earlier process has promised. */
  constructor(root: FolderNode, promised: Promised) {
    this.#root = root;
    this.#promised = promised;
  }

  /** What is promised at this moment. */
  get now(): Promised {
    return this.#promised;
  }

  /** One process's storage, and what it is to be told of acknowledged saves. */
  process(fs: FileSystem): { readonly storage: Storage; acknowledged(): void } {
    const inner = localFiles({ fs });
    let published: string[] = [];
    const naming = async <T>(path: string, work: Promise<T>): Promise<T> => {
      const result = await work;
      published.push(path);
      return result;
    };
    const keep = (): void => {
      this.#promise(published);
      published = [];
    };
    const storage: Storage = {
      ...inner,
      async writer(path, options) {
        const writer = await inner.writer(path, options);
        return { ...writer, publish: (how) => naming(path, writer.publish(how)) };
      },
      link: (from, to, how) => naming(to, inner.link(from, to, how)),
      symlink: (target, path, how) => naming(path, inner.symlink(target, path, how)),
      remove: (path) => {
        keep();
        const names = new Map(this.#promised.names);
        names.delete(path);
        this.#promised = { ...this.#promised, names };
        return inner.remove(path);
      },
    };
    return { storage, acknowledged: keep };
  }

  #promise(paths: readonly string[]): void {
    const names = new Map(this.#promised.names);
    const bestScores = new Map(this.#promised.bestScores);
    let { newestStep } = this.#promised;
    const files = checkpointsOn(this.#root);
    for (const path of paths) {
      const bytes = files.get(path);
      const stored = bytes && storedCheckpoint(bytes);
      if (typeof stored !== 'object') throw new Error(`${path} was published, and is ${stored}`);
      names.set(path, stored.step);
      if (stored.isFull) newestStep = Math.max(newestStep, stored.step);
      const ranked = stored.ranked.get(path);
      if (ranked === undefined) continue;
      const best = bestScores.get(ranked.stateKey) ?? Number.POSITIVE_INFINITY;
      bestScores.set(ranked.stateKey, Math.min(best, ranked.score));
    }
    this.#promised = { names, bestScores, newestStep };
  }
}
