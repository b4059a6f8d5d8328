import { expect, it } from 'vitest';
import { replayFits } from './replay-fit.ts';
import { replayInit } from './replay-init.ts';
import { readTraces, TRACES } from './trace.ts';

for (const { name, fit, init } of await readTraces(process.env.HIGHWATER_TRACES ?? TRACES)) {
  if (fit.length > 0) {
    it(`trains as recorded in ${name}`, { timeout: 120_000 }, async () => {
      const results = await replayFits(fit);
      const failures = results.flatMap(({ row, found }) =>
        found.length === 0 ? [] : [`${row.id}: ${found[0]}`],
      );
      expect(failures).toEqual([]);
    });
  }
  if (init.length > 0) {
    it(`constructs as recorded in ${name}`, () => {
      expect(replayInit(init).failures).toEqual([]);
    });
  }
}
