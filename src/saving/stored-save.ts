import { CheckpointFileError } from '../errors.ts';
import type { JsonObject, JsonValue } from '../format/json.ts';
import type { SaveName } from './save-job.ts';

/** A name that the hook gave to what it saved, as the file itself tells. */
export type StoredName = Omit<SaveName, 'replaces'>;

/** All that the hook in which a checkpoint was saved had to do: what a crash may have cut short. */
export interface StoredSave {
  readonly names: readonly StoredName[];
  readonly removals: readonly string[];
}

/** When a checkpoint was saved. */
export interface SaveOrder {
  readonly globalStep: number;
  /** Counts the saves of a run, its resumes included. */
  readonly sequence: number;
}

/**
 * What a document says of its own save; a document that says nothing had nothing to do.
 *
 * @throws CheckpointFileError when it is not in the form that Highwater writes: it comes from a file.
 */
export function storedSave(document: JsonObject | undefined): StoredSave {
  const { save } = document ?? {};
  if (save === undefined) return { names: [], removals: [] };
  const { names = [], removals = [] } = isObject(save) ? save : refuse('save', save);
  if (!Array.isArray(names) || !names.every(isName)) refuse('save.names', names);
  if (!Array.isArray(removals) || !removals.every(isString)) refuse('save.removals', removals);
  return { names, removals } as unknown as StoredSave;
}

/** Whatever is no count stands for 0: the oldest there is. */
export function orderOf(document: JsonObject | undefined): SaveOrder {
  const { globalStep, sequence } = document ?? {};
  return { globalStep: countOf(globalStep), sequence: countOf(sequence) };
}

function countOf(value: JsonValue | undefined): number {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : 0;
}

function isName(value: JsonValue): boolean {
  if (!isObject(value)) return false;
  const { path, role, linkTo, weightsOnly, stateKey, score } = value;
  return (
    isString(path) &&
    isString(role) &&
    [linkTo, stateKey].every((text) => text === undefined || isString(text)) &&
    typeof weightsOnly === 'boolean' &&
    (score === undefined || typeof score === 'number')
  );
}

const isString = (value: unknown): value is string => typeof value === 'string';

function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function refuse(field: string, value: unknown): never {
  throw new CheckpointFileError(`It holds ${JSON.stringify(value)} as ${field}.`, {
    details: { field, value },
  });
}
