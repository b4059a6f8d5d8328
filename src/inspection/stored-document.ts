import { lastPart } from '../checkpoint/folder.ts';
import { scoreOf } from '../checkpoint/monitor.ts';
import { type MonitorRule, ruleOfStateKey } from '../checkpoint/state.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';

/** One name that a checkpoint was saved under. */
export interface StoredName {
  readonly path: string;
  /** `topK`, `last`, `exception` or `user`. */
  readonly role: string;
  readonly score: number | undefined;
  /** Whose file it is; undefined when nobody's. */
  readonly stateKey: string | undefined;
}

/** A metric as it was when a checkpoint was saved. */
export interface StoredMetric {
  readonly name: string;
  readonly value: number;
  /** The `globalStep` of the weights it was measured on. */
  readonly loggedFor: number;
}

/** What a checkpoint's score is, and what by. */
export interface Score extends MonitorRule {
  readonly monitor: string;
  readonly value: number;
}

/** A member of a document that should be a whole number of at least 0; undefined when it is not. */
export function countIn(document: JsonObject, key: string): number | undefined {
  const value = document[key];
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
}

/** All names of the save that a checkpoint belongs to. What is malformed is left out. */
export function namesIn(document: JsonObject): readonly StoredName[] {
  return itemsOf(objectOf(document.save)?.names).flatMap((item) => {
    const { path, role, score, stateKey } = objectOf(item) ?? {};
    if (typeof path !== 'string' || typeof role !== 'string') return [];
    return {
      path,
      role,
      score: typeof score === 'number' ? score : undefined,
      stateKey: typeof stateKey === 'string' ? stateKey : undefined,
    };
  });
}

/**
 * The name under which a checkpoint was saved that is now found at `path`: that very path, else (the folder
 * may have moved) one with the same last part. Undefined for a copy under another name.
 */
export function nameAt(names: readonly StoredName[], path: string): StoredName | undefined {
  const last = lastPart(path);
  return (
    names.find((name) => name.path === path) ?? names.find((name) => lastPart(name.path) === last)
  );
}

/** The metrics as they were when a checkpoint was saved. */
export function metricsIn(document: JsonObject): readonly StoredMetric[] {
  return itemsOf(objectOf(document.metrics)?.visible).flatMap((item) => {
    const [name, value, loggedFor] = itemsOf(item);
    if (typeof name !== 'string' || typeof value !== 'number') return [];
    return { name, value, loggedFor: typeof loggedFor === 'number' ? loggedFor : -1 };
  });
}

/**
 * The score of the weights in a checkpoint: what it was ranked by under this name, else the metric that its
 * callback monitors, if it was measured on these weights, else what another name of the same save was ranked by,
 * which may be another callback's.
 */
export function scoreIn(document: JsonObject, name: StoredName | undefined): Score | undefined {
  const own = name === undefined ? undefined : (rankedBy(name) ?? measuredFor(document, name));
  if (own !== undefined) return own;
  for (const other of namesIn(document)) {
    const score = rankedBy(other);
    if (score !== undefined) return score;
  }
  return undefined;
}

function rankedBy({ score, stateKey }: StoredName): Score | undefined {
  const { monitor, mode } = ruleOf(stateKey) ?? {};
  if (score === undefined || monitor === undefined || mode === undefined) return undefined;
  return { monitor, mode, value: score };
}

function measuredFor(document: JsonObject, { stateKey }: StoredName): Score | undefined {
  const { monitor, mode } = ruleOf(stateKey) ?? {};
  const measured = metricsIn(document).find(
    ({ name, loggedFor }) => name === monitor && loggedFor === countIn(document, 'globalStep'),
  );
  if (mode === undefined || measured === undefined) return undefined;
  return { monitor: measured.name, mode, value: scoreOf(mode, measured.value) };
}

function ruleOf(stateKey: string | undefined): MonitorRule | undefined {
  return stateKey === undefined ? undefined : ruleOfStateKey(stateKey);
}

/** A value as an object; undefined when it is anything else. */
export function objectOf(value: JsonValue | undefined): JsonObject | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return value as JsonObject;
}

function itemsOf(value: JsonValue | undefined): readonly JsonValue[] {
  return Array.isArray(value) ? (value as readonly JsonValue[]) : [];
}
