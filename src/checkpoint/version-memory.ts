/** `a-v12.ckpt` is version 12 of `a.ckpt`; undefined for a path that does not end in a version. */
function versionOf(path: string): { readonly plain: string; readonly version: number } | undefined {
  const [, stem, version, extension = ''] = /^(.*)-v(\d+)(\.[^./]*)?$/s.exec(path) ?? [];
  return stem === undefined ? undefined : { plain: stem + extension, version: Number(version) };
}

/** What is known of the versions of one name. */
interface KnownVersions {
  /** All below this one are taken, but for the {@link free} ones. */
  next: number;
  readonly free: Set<number>;
}

/**
 * Remembers which versions of a name are taken, so that a run that keeps thousands of versions of one name
 * does not try them all at each save. It may only save work: whether a name is free is still asked.
 */
export class VersionMemory {
  readonly #known = new Map<string, KnownVersions>();

  /** The first version of a taken path that may be free, where the paths in `own` count as free. */
  first(plain: string, own: Iterable<string>, startingVersion: number): number {
    const known = this.#known.get(plain);
    const ofOwn = [...own].map(versionOf).flatMap((path) => (path?.plain === plain ? path : []));
    const candidates = [...(known?.free ?? []), ...ofOwn.map(({ version }) => version)];
    const next = known?.next ?? startingVersion;
    return Math.max(startingVersion, Math.min(next, ...candidates));
  }

  taken(path: string): void {
    const { plain, version } = versionOf(path) ?? {};
    if (plain === undefined || version === undefined) return;
    const known = this.#known.get(plain) ?? { next: 0, free: new Set() };
    known.next = Math.max(known.next, version + 1);
    known.free.delete(version);
    this.#known.set(plain, known);
  }

  /** A file goes: its version can be had again. */
  free(path: string): void {
    const { plain, version } = versionOf(path) ?? {};
    const known = plain === undefined ? undefined : this.#known.get(plain);
    if (known !== undefined && version !== undefined && version < known.next) {
      known.free.add(version);
    }
  }
}
