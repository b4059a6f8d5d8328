import { parseArgs } from 'node:util';
import { closest } from '../closest.ts';
import { type Arguments, type Command, Misuse, type Option, type Options } from './command.ts';

/** Options that every command has. */
export const COMMON: Options = {
  json: { type: 'boolean', description: 'print JSON; NaN and ±Infinity as strings' },
  help: { type: 'boolean', short: 'h', description: 'show this help' },
};

/**
 * What follows a command's name, checked against what the command takes.
 *
 * @returns undefined when help is asked for.
 * @throws Misuse naming what is wrong, and what was probably meant.
 */
export function readArguments(command: Command, args: readonly string[]): Arguments | undefined {
  const options: Options = { ...command.options, ...COMMON };
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { type, short }]) => [
        name,
        short === undefined ? { type } : { type, short },
      ]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const values: Record<string, boolean | string> = {};
  const operands: string[] = [];
  for (const token of tokens) {
    if (token.kind === 'positional') operands.push(token.value);
    if (token.kind === 'option') {
      values[token.name] = givenValue(token, Object.hasOwn(options, token.name), options);
    }
  }
  const { json = false, help = false, ...own } = values;
  if (help !== false) return undefined;
  checkOperands(command, operands);
  return { values: own as Arguments['values'], operands, json: json === true };
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function givenValue(token: OptionToken, isKnown: boolean, options: Options): boolean | string {
  const { name, rawName, value, inlineValue } = token;
  if (!isKnown) throw new Misuse(`There is no option ${rawName}.${didYouMean(name, options)}`);
  const { type, value: placeholder = 'VALUE' } = options[name] as Option;
  if (type === 'boolean') {
    if (value === undefined) return true;
    throw new Misuse(`${rawName} takes no value, but it was given '${value}'.`);
  }
  const isOption = inlineValue !== true && value !== undefined && /^--?[a-z]/i.test(value);
  if (value !== undefined && value !== '' && !isOption) return value;
  throw new Misuse(`${rawName} needs a value: ${rawName} ${placeholder}.`);
}

function didYouMean(name: string, options: Options): string {
  const meant = closest(name, Object.keys(options));
  if (meant !== undefined) return ` Did you mean --${meant}?`;
  const names = Object.keys(options).map((known) => `--${known}`);
  return ` There are ${names.join(', ')}.`;
}

function checkOperands({ name, usage, operands }: Command, given: readonly string[]): void {
  const { least, most } = operands;
  const empty = given.indexOf('');
  if (empty >= 0) throw new Misuse(`Argument ${empty + 1} of ${name} is empty.`);
  if (given.length < least) {
    const wanted = least === 1 ? 'a path' : `${least} paths, but got ${given.length}`;
    throw new Misuse(`${name} needs ${wanted}: highwater ${name} ${usage}`);
  }
  const surplus = given[most];
  if (surplus !== undefined) {
    throw new Misuse(`${name} does not know what to do with '${surplus}': ${usage}`);
  }
}

/** One of a few words that an option was given. */
export function choiceOf<const T extends string>(
  name: string,
  value: string,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === value);
  if (found !== undefined) return found;
  const meant = closest(value, choices);
  throw new Misuse(
    `--${name} is '${value}', but it must be ${choices.map((choice) => `'${choice}'`).join(' or ')}.` +
      (meant === undefined ? '' : ` Did you mean '${meant}'?`),
  );
}

/** A whole number of at least 0 that an option was given; undefined when it was not. */
export function countOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const count = Number(value);
  if (/^\d+$/.test(value) && Number.isSafeInteger(count)) return count;
  throw new Misuse(`--${name} is '${value}', but it must be a whole number of at least 0.`);
}

const UNITS_MS: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** A span of time that an option was given, as `90s`, `30m`, `12h`, `7d` or `2w`; in milliseconds. */
export function spanMsOf(name: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(value) ?? [];
  const unitMs = UNITS_MS[unit];
  if (unitMs !== undefined) return Number(amount) * unitMs;
  throw new Misuse(
    `--${name} is '${value}', but it must be a number with a unit: 90s, 30m, 12h, 7d or 2w.`,
  );
}
