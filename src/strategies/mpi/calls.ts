import { HighwaterError } from '../../errors.ts';

/** What all ranks do together, as messages name it. A rank tells the others the place of its call, and the number in it. */
const CALLS = [
  'barrier()',
  'broadcast()',
  'broadcastTensor() of # bytes',
  'reduceGradients() of # float32',
  'reduceGradients() of # float64',
  "reduceBoolean('any')",
  "reduceBoolean('all')",
  "reduce('sum') of length #",
  "reduce('min') of length #",
  "reduce('max') of length #",
  'gather()',
  'teardown()',
] as const;

export type Call = (typeof CALLS)[number];

/** No number in a call is so large; with the places above it a double still holds it exactly. */
const COUNTS = 2 ** 45;

/** A call as one number. */
export function codeOf(call: Call, count: number): number {
  return CALLS.indexOf(call) * COUNTS + count;
}

/** @throws HighwaterError (`STRATEGY_FAILED`) unless the least and the greatest code of all ranks are one. */
export function checkSame(least: number, greatest: number): void {
  if (least === greatest) return;
  const calls = [least, greatest].map(nameOf);
  throw new HighwaterError(
    'STRATEGY_FAILED',
    `The ranks do not call the same: one calls ${calls.join(', another ')}. All ranks must make the same calls in the ` +
      `same order; so what all do together, such as trainer.saveCheckpoint and trainer.flush, must not stand behind ` +
      `'if (trainer.isGlobalZero)'.`,
    { details: { calls } },
  );
}

function nameOf(code: number): string {
  return String(CALLS[Math.floor(code / COUNTS)]).replace('#', String(code % COUNTS));
}
