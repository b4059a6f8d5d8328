import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { type FormatRow, replayFormat } from './replay-format.ts';

const traces = process.env.HIGHWATER_TRACES ?? join(import.meta.dirname, 'traces');

it('names every checkpoint as Lightning does', () => {
  const files = readdirSync(traces).filter((file) => /^format.*\.jsonl\.gz$/.test(file));
  const rows = files.flatMap((file) => {
    const lines = gunzipSync(readFileSync(join(traces, file)))
      .toString()
      .split('\n');
    return lines.filter(Boolean).map((line): FormatRow => JSON.parse(line));
  });
  const { passed, total, failures } = replayFormat(rows);
  expect(failures).toEqual([]);
  expect(passed).toBe(total);
  expect(total).toBeGreaterThan(0);
});
