import type { Logger } from '../loggers/logger.ts';
import type { CheckpointFolder } from '../saving/recovery.ts';
import type { CheckpointOwner } from './checkpointing.ts';
import { absolutePath, type TrainerOptions } from './options.ts';

/** Where a callback saves: its folder, `''` for the default, how deep its names go below it, and what they end in. */
export type SavingPlace = Pick<CheckpointOwner, 'dirpath' | 'folderDepth' | 'FILE_EXTENSION'>;

/** Where a run's checkpoints lie, in one run and in the earlier ones of the same experiment. */
export class RunFolders {
  readonly #options: TrainerOptions;
  readonly #logger: Logger | undefined;
  readonly #owners: readonly SavingPlace[];

  constructor(options: TrainerOptions, logger: Logger | undefined, owners: readonly SavingPlace[]) {
    this.#options = options;
    this.#logger = logger;
    this.#owners = owners;
  }

  /**
   * Where a callback without `dirpath` saves: `<base>/<logger name>/<version>/checkpoints`, or
   * `<base>/checkpoints` without a logger. Undefined while the logger has no version yet.
   */
  defaultFolder(version: number | string | undefined = this.#logger?.version): string | undefined {
    const { weightsSavePath, defaultRootDir = '.' } = this.#options;
    const base = weightsSavePath ?? this.#logger?.saveDir ?? defaultRootDir;
    if (this.#logger === undefined) return absolutePath(`${base}/checkpoints`);
    if (version === undefined) return undefined;
    const run = typeof version === 'number' ? `version_${version}` : version;
    return absolutePath(
      [base, this.#logger.name, run, 'checkpoints'].filter((part) => part !== '').join('/'),
    );
  }

  /** The folders of all callbacks, each once, when those without `dirpath` save in `defaultFolder`. */
  all(defaultFolder: string | undefined): readonly CheckpointFolder[] {
    const folders = new Map<string, CheckpointFolder>();
    for (const { dirpath, folderDepth, FILE_EXTENSION } of this.#owners) {
      const path = dirpath || defaultFolder;
      if (path === undefined) continue;
      const { depth = 0, extensions = [] } = folders.get(path) ?? {};
      folders.set(path, {
        path,
        depth: Math.max(folderDepth, depth),
        extensions: [...new Set([...extensions, FILE_EXTENSION])],
      });
    }
    return [...folders.values()];
  }
}
