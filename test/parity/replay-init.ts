import { isAbsolute, resolve } from 'node:path';
import { MisconfigurationError, ModelCheckpoint } from '../../src/index.ts';
import { camelCase, checkpointOptions } from './replay-fit.ts';
import { fromNumber, type InitRow } from './trace.ts';

/** Replays constructor calls; a failure says what was asked for and what is different. */
export function replayInit(rows: readonly InitRow[]): {
  readonly passed: number;
  readonly total: number;
  readonly failures: readonly string[];
} {
  const failures = rows.flatMap((row) => {
    const found = replay(row);
    return found.length === 0 ? [] : [`${JSON.stringify(row.kwargs)}: ${found.join('; ')}`];
  });
  return { passed: rows.length - failures.length, total: rows.length, failures };
}

function replay({ kwargs, resolved, exception }: InitRow): readonly string[] {
  let callback: ModelCheckpoint;
  try {
    callback = new ModelCheckpoint(checkpointOptions(kwargs));
  } catch (error) {
    if (exception === undefined) return [`threw ${String(error)}`];
    return error instanceof MisconfigurationError
      ? []
      : [`threw ${String(error)}, expected a MisconfigurationError (${exception.message})`];
  }
  if (exception !== undefined) return [`threw nothing, expected ${exception.message}`];
  return Object.entries(resolved ?? {}).flatMap(([name, recorded]) => {
    const got = JSON.stringify(attributeOf(callback, name));
    const wanted = JSON.stringify(wantedOf(name, recorded, kwargs));
    return got === wanted ? [] : [`${name} is ${got}, expected ${wanted}`];
  });
}

/** An attribute under its Python name, as the traces spell its value. */
function attributeOf(callback: ModelCheckpoint, name: string): unknown {
  if (name === 'train_time_interval_seconds') {
    const { trainTimeIntervalMs } = callback;
    return trainTimeIntervalMs === undefined ? null : trainTimeIntervalMs / 1000;
  }
  const value = callback[camelCase(name) as keyof ModelCheckpoint];
  if (name === 'dirpath') return value === '' ? null : value;
  return typeof value === 'number' ? fromNumber(value) : (value ?? null);
}

/** What our class says where Lightning's says `recorded`. */
function wantedOf(name: string, recorded: unknown, kwargs: InitRow['kwargs']): unknown {
  switch (name) {
    case 'save_last':
      // Off is `false` here, absent or not. Any other string than 'link' is as good as true.
      return recorded === 'link' ? recorded : Boolean(recorded);
    case 'dirpath':
      // Unset is '' here, as it is for every other path; a relative one was made absolute elsewhere.
      if (!kwargs.dirpath) return null;
      return isAbsolute(String(kwargs.dirpath)) ? recorded : resolve(String(kwargs.dirpath));
    default:
      return recorded;
  }
}
