import { styleText } from 'node:util';

/** What a benchmark found: the median of the ratios of its rounds, and the bar it must not miss. */
export interface Measure {
  readonly benchmark: string;
  readonly measure: string;
  /** Of what: `256 MB`, `100,000 kept`. */
  readonly size: string;
  /** Ours divided by the peer's, in one round; one a round. */
  readonly ratios: readonly number[];
  /** The ratio that must be kept: at most, or at least. Null: for people, without a bar. */
  readonly bar: { readonly atMost: number } | { readonly atLeast: number } | null;
  /** What was compared with what: `6.1 ms of main thread, model.save 402 ms`. */
  readonly detail: string;
}

/** A measure as programs read it, one JSON line each. */
interface MeasureLine {
  readonly benchmark: string;
  readonly measure: string;
  readonly size: string;
  readonly value: number | null;
  readonly low: number | null;
  readonly high: number | null;
  readonly bar: string | null;
  /** Null where the peer is not installed. */
  readonly ok: boolean | null;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(middle) - 1], sorted[Math.floor(middle)]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** Prints what was found as it is found: a line for people, or JSON with `--json`. */
export function report(found: Measure): void {
  const line = lineOf(found);
  if (process.argv.includes('--json')) {
    console.log(JSON.stringify(line));
    return;
  }
  const { measure, size, value, low, high, bar, ok } = line;
  const verdict = ok === null ? 'no peer or no bar' : ok ? 'ok' : 'MISSED';
  const numbers =
    value === null ? '-' : `${round(value)} (${round(low ?? value)} to ${round(high ?? value)})`;
  const isGood = ok !== false;
  const text = process.stdout.isTTY ? styleText(isGood ? 'green' : 'red', verdict) : verdict;
  console.log(
    `${measure.padEnd(13)} ${size.padEnd(14)} ${numbers.padEnd(28)} ${(bar ?? '').padEnd(9)} ${text}  ${found.detail}`,
  );
}

function lineOf({ benchmark, measure, size, ratios, bar }: Measure): MeasureLine {
  const isMeasured = ratios.length > 0;
  const value = isMeasured ? median(ratios) : null;
  const ok =
    value === null || bar === null
      ? null
      : 'atMost' in bar
        ? value <= bar.atMost
        : value >= bar.atLeast;
  return {
    benchmark,
    measure,
    size,
    value,
    low: isMeasured ? Math.min(...ratios) : null,
    high: isMeasured ? Math.max(...ratios) : null,
    bar: bar === null ? null : 'atMost' in bar ? `<= ${bar.atMost}` : `>= ${bar.atLeast}`,
    ok,
  };
}

/** Three digits, for people. */
export function round(value: number): string {
  return Number(value.toPrecision(3)).toString();
}

/** How often everything is done: `--rounds N`, at least the given number. */
export function roundsWanted(least: number): number {
  const at = process.argv.indexOf('--rounds');
  return Math.max(least, at < 0 ? 0 : Number(process.argv[at + 1]) || 0);
}

/** Notes for people who wait; not among the results. */
export function note(text: string): void {
  console.error(text);
}
