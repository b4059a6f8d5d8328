/** `a-v12.ckpt` is version 12 of `a.ckpt`; undefined for a path that does not end in a version. */
function versionOf(path: string): { readonly plain: string; readonly version: number } | undefined {
  const [, stem, version, extension = ''] = /^(.*)-v(\d+)(\.[^./]*)?$/s.exec(path) ?? [];
  return stem === undefined ? undefined : { plain: stem + extension, version: Number(version) };
}

/**
 * Remembers up to which version a name is taken, so that a run that keeps thousands of versions of one name
 * does not try them all at each save. It may only save work: whether a name is free is still asked.
 */
export class VersionMemory {
  /** For an unversioned path: all versions below this one are taken. */
  readonly #next = new Map<string, number>();

  /** The first version of a taken path that may be free, where the paths in `own` count as free. */
  first(plain: string, own: Iterable<string>, startingVersion: number): number {
    const known = this.#next.get(plain) ?? startingVersion;
    const ofOwn = [...own].map(versionOf).filter((path) => path?.plain === plain);
    const versions = ofOwn.map((path) => path?.version ?? known);
    return Math.max(startingVersion, Math.min(known, ...versions));
  }

  taken(path: string): void {
    const taken = versionOf(path);
    if (taken !== undefined) this.#next.set(taken.plain, taken.version + 1);
  }

  /** A file goes: its version can be had again. */
  free(path: string): void {
    const { plain, version } = versionOf(path) ?? { plain: path, version: 0 };
    const next = this.#next.get(plain);
    if (next !== undefined) this.#next.set(plain, Math.min(next, version));
  }
}
