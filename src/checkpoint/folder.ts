/**
 * Whether a path names something below a folder, for deciding what may be removed. Purely lexical: `.` and
 * `..` are resolved, symbolic links are not. Both are absolute paths, paths behind a Windows drive, or
 * storage URLs of one root (`s3://bucket`). False for the folder itself, and whenever one of them is none of
 * these or a URL could be read in two ways (`%2f`, `%5c` or `\` in it).
 */
export function isInside(folder: string, path: string): boolean {
  const outer = resolve(folder);
  const inner = resolve(path);
  return (
    outer !== undefined &&
    inner !== undefined &&
    outer.root === inner.root &&
    inner.parts.length > outer.parts.length &&
    outer.parts.every((part, index) => part === inner.parts[index])
  );
}

/**
 * The path of a name in a folder; the bare name when there is no folder (undefined or empty) or the name is
 * an absolute path. Does not check that the name stays inside.
 *
 * Source: CPython 3.11, `posixpath.join`.
 */
export function pathInFolder(folder: string | undefined, name: string): string {
  if (!folder || name.startsWith('/')) return name;
  return folder.endsWith('/') ? folder + name : `${folder}/${name}`;
}

/** The part of a path behind its last `/`. */
export function lastPart(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** The folder that a path lies in; `''` above the root. */
export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.length - lastPart(path).length - 1));
}

interface ResolvedPath {
  /** `''`, `c:` or `s3://bucket`. */
  readonly root: string;
  readonly parts: readonly string[];
}

const absolute = /^(?:(?<url>[a-z][a-z\d+.-]+:\/\/[^/\\]*)|(?<drive>[a-z]:)(?=[\\/])|(?=\/))/i;

function resolve(path: string): ResolvedPath | undefined {
  const match = absolute.exec(path);
  if (match === null || path.includes('\0')) return undefined;
  const rest = path.slice(match[0].length);
  const { url, drive } = match.groups ?? {};
  if (drive !== undefined) {
    return { root: drive.toLowerCase(), parts: withoutDots(rest.split(/[\\/]+/)) };
  }
  if (url === undefined) return { root: '', parts: withoutDots(rest.split(/\/+/)) };
  if (/%2f|%5c|\\/i.test(rest)) return undefined;
  // Of a URL only the first and the last slash mean nothing: `a//b` is not `a/b` on object storage.
  const inner = rest.replace(/^\//, '').replace(/\/$/, '').replace(/%2e/gi, '.');
  return { root: url, parts: inner === '' ? [] : withoutDots(inner.split('/'), true) };
}

/** Resolves `.` and `..`; above the root there is nothing, as everywhere. */
function withoutDots(parts: readonly string[], keepsEmpty = false): readonly string[] {
  const kept: string[] = [];
  for (const part of parts) {
    if (part === '..') kept.pop();
    else if (part !== '.' && (part !== '' || keepsEmpty)) kept.push(part);
  }
  return kept;
}

/** What relative paths and `~` mean where the program runs. */
export interface Whereabouts {
  /** The working folder, absolute. */
  readonly cwd: string;
  /** The user's folder; undefined where there is none: then `~` is an ordinary name. */
  readonly home: string | undefined;
}

/**
 * A `dirpath` option as an absolute path without `.`, `..` and a trailing `/`: `~` expands, a `file:` URL
 * becomes its path, another URL stays one. `''` when there is none.
 */
export function absoluteFolder(
  dirpath: string | URL | null | undefined,
  { cwd, home }: Whereabouts,
): string {
  if (dirpath === undefined || dirpath === null || dirpath === '') return '';
  const given = String(dirpath);
  if (given.startsWith('file:')) return normalise(decodeURIComponent(new URL(given).pathname));
  if (given === '~' || given.startsWith('~/')) {
    return normalise(home === undefined ? pathInFolder(cwd, given) : `${home}${given.slice(1)}`);
  }
  return normalise(absolute.test(given) ? given : pathInFolder(cwd, given));
}

function normalise(path: string): string {
  const resolved = resolve(path);
  return resolved === undefined ? path : `${resolved.root}/${resolved.parts.join('/')}`;
}
