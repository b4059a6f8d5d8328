import {
  checkContained,
  firstFreeName,
  formatCheckpointName,
  type NameWarning,
} from './file-name.ts';
import { pathInFolder } from './folder.ts';
import type { Candidate } from './monitor.ts';

/** How a callback spells its files. The class constants of ModelCheckpoint, and two options. */
export interface Naming {
  /** Absolute folder, without a trailing `/`. */
  readonly dirpath: string;
  readonly joinChar: string;
  readonly equalsChar: string;
  /** Template of the last file's name. */
  readonly lastName: string;
  /** With its dot. */
  readonly extension: string;
  readonly startingVersion: number;
  readonly autoInsertMetricName: boolean;
  readonly enableVersionCounter: boolean;
}

/** A file's path for an event, and what people should know about how it came about. */
export interface NamedFile {
  readonly path: string;
  readonly warnings: readonly string[];
}

/**
 * The path for a template: formatted, contained in the folder, and free (`-v1`, `-v2`… until one is)
 * unless the version counter is off. `firstVersion` tells where to begin, when the path itself is taken.
 *
 * @throws MisconfigurationError when the name would leave the folder or no file system could hold it.
 */
export function nameFile(
  naming: Naming,
  template: string | undefined,
  candidates: ReadonlyMap<string, Candidate>,
  isTaken: (path: string) => boolean,
  firstVersion: (path: string) => number = () => naming.startingVersion,
): NamedFile {
  const warnings = new Set<string>();
  const pathOf = (version: number | undefined): string => {
    const formatted = formatCheckpointName(template, candidates, { ...naming, version });
    for (const warning of formatted.warnings) warnings.add(spell(warning));
    checkContained(formatted.name);
    return pathInFolder(naming.dirpath, formatted.name);
  };
  const plain = pathOf(undefined);
  const isPlain = !naming.enableVersionCounter || !isTaken(plain);
  const path = isPlain ? plain : firstFreeName(pathOf, isTaken, firstVersion(plain));
  return { path, warnings: [...warnings] };
}

function spell(warning: NameWarning): string {
  const { metric } = warning;
  if (warning.kind === 'missing-metric') {
    return `ModelCheckpoint: the file name wants '${metric}', which no hook has logged: it is written as 0.`;
  }
  return (
    `ModelCheckpoint: '{${metric}:${warning.spec}}' cannot print ${warning.value}: it is written without ` +
    `the format.`
  );
}

/** The path with the next version: `a.ckpt` → `a-v1.ckpt` → `a-v2.ckpt`. */
export function nextVersion(path: string): string {
  const [, stem = path, version, extension = ''] =
    /^(.*?)(?:-v(\d+))?(\.[^./]*)?$/s.exec(path) ?? [];
  return `${stem}-v${version === undefined ? 1 : Number(version) + 1}${extension}`;
}
