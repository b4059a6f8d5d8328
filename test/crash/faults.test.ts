import { describe, expect, it } from 'vitest';
import { FAULTS, type FaultCode, runWith } from './model/faults.ts';

/** Each call of a run fails with one of the codes; `npm run crash:faults` lets each fail with all. */
const EVERY = 20;

describe.each(Object.keys(FAULTS) as FaultCode[])('%s at a call of the system', (code) => {
  const offset = Object.keys(FAULTS).indexOf(code) * 4;

  it.each([
    ['once', 'throw', false],
    ['once', 'warn', false],
    ['from there on', 'throw', true],
    ['from there on', 'warn', true],
  ] as const)(
    '%s: with onSaveError %s nothing is lost, unclear or left behind, and a next run goes on',
    async (_, onSaveError, lasts) => {
      let calls = 0;
      for (let at = offset; ; at += EVERY) {
        const { call, problems } = await runWith({ code, at, lasts, onSaveError });
        expect(problems, `call ${at}, ${call?.operation} ${call?.paths}`).toEqual([]);
        if (call === undefined) break;
        calls += 1;
      }
      expect(calls).toBeGreaterThanOrEqual(5);
    },
  );
});
