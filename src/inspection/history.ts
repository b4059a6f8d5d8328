import { lastPart } from '../checkpoint/folder.ts';
import { ruleOfStateKey } from '../checkpoint/state.ts';
import { decodeJson, type JsonObject } from '../format/json.ts';
import { countIn, objectOf } from './stored-document.ts';

/** One thing that happened to the checkpoints of a run. */
export interface HistoryEvent {
  readonly kind: 'saved' | 'rejected' | 'removed';
  /** When, an ISO date in UTC; null when that is not known. */
  readonly at: string | null;
  /** 0-based. */
  readonly epoch: number | null;
  readonly globalStep: number | null;
  /** Null when it was rejected: then there is no file. */
  readonly path: string | null;
  /** Of a saved file: `topK`, `last`, `exception`; else null. */
  readonly role: string | null;
  readonly monitor: string | null;
  readonly score: number | null;
  /** What a rejected score had to be better than. */
  readonly worstKept: number | null;
  /** Why it was removed, in words. */
  readonly reason: string | null;
}

/** What became of one file, from its last save on. */
export interface FileFate {
  readonly path: string;
  readonly saved: HistoryEvent | null;
  /** Null while it has not been removed. */
  readonly removed: HistoryEvent | null;
  /** The ranked file that was saved by the hook that removed it. */
  readonly replacedBy: HistoryEvent | null;
}

/**
 * The events in a journal's text, in its order. It may have been cut, by a crash or because it grew too long,
 * and anybody may have written to it: what is not an event is passed over.
 */
export function parseJournal(text: string): readonly HistoryEvent[] {
  return text.split('\n').flatMap((line) => eventIn(line) ?? []);
}

function eventIn(line: string): HistoryEvent | undefined {
  let note: JsonObject | undefined;
  try {
    note = objectOf(decodeJson(line));
  } catch {
    return undefined;
  }
  const { kind } = note ?? {};
  if (note === undefined || (kind !== 'saved' && kind !== 'rejected' && kind !== 'removed')) {
    return undefined;
  }
  const path = textIn(note, 'path');
  if (path === null && kind !== 'rejected') return undefined;
  return {
    kind,
    at: textIn(note, 'at'),
    epoch: countIn(note, 'epoch') ?? null,
    globalStep: countIn(note, 'globalStep') ?? null,
    path,
    role: textIn(note, 'role'),
    monitor: ruleOfStateKey(textIn(note, 'callback') ?? '')?.monitor ?? null,
    score: numberIn(note, 'score'),
    worstKept: numberIn(note, 'worstKept'),
    reason: textIn(note, 'reason'),
  };
}

/**
 * Finds the path by which the events of a folder tell of a file in it; undefined when they do not. The folder
 * may have moved since: then it is the path that ends as the file's does from the folder on. Of several the
 * shortest: the others lie in folders below. Two of one length are two folders, of which nobody knows which is meant.
 */
export function mentionsIn(
  events: readonly HistoryEvent[],
  folder: string,
): (path: string) => string | undefined {
  const byName = new Map<string, Set<string>>();
  for (const { path } of events) {
    if (path === null) continue;
    const name = lastPart(path);
    const paths = byName.get(name);
    if (paths === undefined) byName.set(name, new Set([path]));
    else paths.add(path);
  }
  return (path) => {
    const paths = byName.get(lastPart(path));
    if (paths === undefined || paths.has(path)) return paths && path;
    const inFolder = path.slice(folder.length);
    const depthOf = (mentioned: string): number => mentioned.split('/').length;
    const [first, second] = [...paths]
      .filter((mentioned) => mentioned.endsWith(inFolder))
      .sort((a, b) => depthOf(a) - depthOf(b));
    const isOne = second === undefined || depthOf(first ?? '') < depthOf(second);
    return isOne ? first : undefined;
  };
}

/** What became of a file of a folder, by the events there; undefined when they do not mention it. */
export function fateOf(
  events: readonly HistoryEvent[],
  folder: string,
  path: string,
): FileFate | undefined {
  const mentioned = mentionsIn(events, folder)(path);
  if (mentioned === undefined) return undefined;
  const last = (kind: HistoryEvent['kind']): number =>
    events.findLastIndex((event) => event.kind === kind && event.path === mentioned);
  const [savedAt, removedAt] = [last('saved'), last('removed')];
  const removed = removedAt > savedAt ? (events[removedAt] as HistoryEvent) : null;
  const replacedBy = events.findLast(
    (event, i) =>
      removed !== null &&
      i < removedAt &&
      i > savedAt &&
      event.kind === 'saved' &&
      event.role === 'topK' &&
      event.globalStep === removed.globalStep &&
      event.monitor === removed.monitor,
  );
  return {
    path: mentioned,
    saved: events[savedAt] ?? null,
    removed,
    replacedBy: replacedBy ?? null,
  };
}

function textIn(note: JsonObject, key: string): string | null {
  const value = note[key];
  return typeof value === 'string' ? value : null;
}

function numberIn(note: JsonObject, key: string): number | null {
  const value = note[key];
  return typeof value === 'number' ? value : null;
}
