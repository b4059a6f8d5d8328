import { type ParseArgsConfig, parseArgs } from 'node:util';

type Options = NonNullable<ParseArgsConfig['options']>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>['values'];

/**
 * The options of the command line as `check` has understood them. With `--help` prints the usage and ends; so it does,
 * as a failure, when `check` throws or there is an option that nobody knows.
 */
export function readArguments<const T extends Options, Settings>(
  usage: string,
  options: T,
  check: (values: Values<T>) => Settings,
): Settings {
  try {
    if (process.argv.includes('--help')) {
      console.log(usage);
      process.exit(0);
    }
    return check(parseArgs({ options }).values);
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n\n${usage}`);
    process.exit(2);
  }
}

/** What `--name` says, as a whole number. */
export function wholeNumber(name: string, text: string, least: number): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isSafeInteger(value) && value >= least) return value;
  throw new RangeError(`--${name} is '${text}', but it must be a whole number, at least ${least}.`);
}
