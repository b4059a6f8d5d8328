import { formatCheckpointName, type NamedValue } from '../../src/checkpoint/file-name.ts';
import { pathInFolder } from '../../src/checkpoint/folder.ts';

/** A row of `format.jsonl`: one call of Lightning's checkpoint name formatter. */
export interface FormatRow {
  /** The first makes the name alone, the second a version, the extension and the folder too. */
  readonly fn: '_format_checkpoint_name' | 'format_checkpoint_name';
  readonly template: string | null;
  readonly metrics: Readonly<
    Record<string, { readonly f32: number | string } | { readonly int: number }>
  >;
  readonly auto_insert_metric_name: boolean;
  readonly prefix?: string | null;
  readonly ver?: number | null;
  readonly self_filename?: string | null;
  readonly dirpath?: string | null;
  readonly result: string;
}

/** Replays the rows; a failure says what was asked for, expected and got. */
export function replayFormat(rows: readonly FormatRow[]): {
  readonly passed: number;
  readonly total: number;
  readonly failures: string[];
} {
  const failures: string[] = [];
  for (const row of rows) {
    const got = replay(row);
    if (got !== row.result) failures.push(`${JSON.stringify(row)}: got ${JSON.stringify(got)}`);
  }
  return { passed: rows.length - failures.length, total: rows.length, failures };
}

function replay(row: FormatRow): string {
  const metrics = new Map(
    Object.entries(row.metrics).map(([name, metric]) => [name, namedValue(metric)]),
  );
  const { name } = formatCheckpointName(row.template || (row.self_filename ?? undefined), metrics, {
    autoInsertMetricName: row.auto_insert_metric_name,
    prefix: row.prefix ?? undefined,
    version: row.ver ?? undefined,
    extension: row.fn === '_format_checkpoint_name' ? '' : undefined,
  });
  return pathInFolder(row.dirpath ?? undefined, name);
}

const named: Readonly<Record<string, number>> = {
  nan: Number.NaN,
  inf: Number.POSITIVE_INFINITY,
  '-inf': Number.NEGATIVE_INFINITY,
};

function namedValue(metric: FormatRow['metrics'][string]): NamedValue {
  if ('int' in metric) return { value: metric.int, kind: 'integer' };
  return { value: named[metric.f32] ?? Number(metric.f32), kind: 'float' };
}
