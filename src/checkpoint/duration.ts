import { MisconfigurationError } from '../errors.ts';

/** A span of time in parts, which are added up. Each is a finite number of at least 0, not only whole. */
export interface DurationParts {
  readonly days?: number | undefined;
  readonly hours?: number | undefined;
  readonly minutes?: number | undefined;
  readonly seconds?: number | undefined;
  readonly milliseconds?: number | undefined;
}

/** A span of time: milliseconds, parts, or a string `DD:HH:MM:SS` such as `'00:12:00:00'`, half a day. */
export type Duration = number | string | DurationParts;

const MILLISECONDS: Readonly<Record<keyof DurationParts, number>> = {
  days: 86_400_000,
  hours: 3_600_000,
  minutes: 60_000,
  seconds: 1000,
  milliseconds: 1,
};
const ALLOWED =
  'milliseconds (a finite number of at least 0), parts such as {hours: 1, minutes: 30} (of ' +
  `${Object.keys(MILLISECONDS).join(', ')}), or a string 'DD:HH:MM:SS'`;

/**
 * A span of time in milliseconds: finite, at least 0, not always whole.
 *
 * @param option the option's name, for the message.
 * @throws MisconfigurationError (`MISCONFIGURATION`), naming option, value and what is allowed: for what is
 * negative, NaN, infinite or too large for a finite number; parts with no or another name; another string.
 * Source of the string: PyTorch Lightning 2.6, `Trainer(max_time=…)`; minutes and seconds may pass 59.
 */
export function durationMs(option: string, value: Duration): number {
  const durationMs = read(value);
  if (durationMs !== undefined && durationMs >= 0 && durationMs < Number.POSITIVE_INFINITY) {
    return durationMs;
  }
  const shown = typeof value === 'string' ? `'${value}'` : show(value);
  throw new MisconfigurationError(`${option} is ${shown}, but it must be ${ALLOWED}.`, {
    details: { option, value },
  });
}

function read(value: Duration): number | undefined {
  if (typeof value === 'number') return value;
  if (typeof value === 'string') return readClock(value);
  return typeof value === 'object' && value !== null ? readParts(value) : undefined;
}

function readClock(text: string): number | undefined {
  const match = /^(\d+):(\d\d):(\d\d):(\d\d)$/.exec(text);
  if (match === null) return undefined;
  const [, days, hours, minutes, seconds] = match.map(Number);
  return readParts({ days, hours, minutes, seconds });
}

function readParts(parts: DurationParts): number | undefined {
  const given = Object.entries(parts).filter(([, amount]) => amount !== undefined);
  let sumMs = 0;
  for (const [name, amount] of given) {
    if (!Object.hasOwn(MILLISECONDS, name) || !(Number.isFinite(amount) && amount >= 0)) {
      return undefined;
    }
    sumMs += amount * MILLISECONDS[name as keyof DurationParts];
  }
  return given.length === 0 ? undefined : sumMs;
}

function show(value: Duration): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return String(value);
  return `{${Object.entries(value)
    .map(([name, amount]) => `${name}: ${String(amount)}`)
    .join(', ')}}`;
}
