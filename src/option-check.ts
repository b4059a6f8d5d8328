import { closest } from './closest.ts';
import { MisconfigurationError } from './errors.ts';

/** The names of some options, each once: the compiler refuses a table that has one too few or too many. */
export type OptionNames<Options> = Readonly<Record<keyof Options, true>>;

/**
 * Refuses options that have a name which is none: what is misspelt would have no effect, and in JavaScript nothing else
 * says so.
 *
 * @param owner what takes the options, for the message: `Trainer.fit`.
 * @throws MisconfigurationError (`MISCONFIGURATION`) for names that there are not, with the ones that were probably
 * meant, and for what is no object.
 */
export function checkOptionNames<Options extends object>(
  owner: string,
  options: Options,
  names: OptionNames<Options>,
): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new MisconfigurationError(
      `${owner}: the options are ${spell(options)}, but they must be an object with any of ${listOf(names)}.`,
      { details: { value: options } },
    );
  }
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(names, name));
  if (unknown.length === 0) return;
  const known = Object.keys(names);
  let areAllNear = true;
  const told = unknown.map((name) => {
    const meant = closest(name, known);
    areAllNear &&= meant !== undefined;
    return meant === undefined ? `'${name}'` : `'${name}' (did you mean '${meant}'?)`;
  });
  const all = areAllNear ? '' : ` It has ${listOf(names)}.`;
  throw new MisconfigurationError(`${owner} has no option ${told.join(', ')}.${all}`, {
    details: { options: unknown },
  });
}

function listOf(names: object): string {
  return Object.keys(names).join(', ');
}

/** @throws MisconfigurationError (`MISCONFIGURATION`) that names the option, its value and what is allowed. */
export function refuseOption(
  owner: string,
  option: string,
  value: unknown,
  allowed: string,
): never {
  throw new MisconfigurationError(
    `${owner}: ${option} is ${spell(value)}, but it must be ${allowed}.`,
    { details: { option, value } },
  );
}

/** A value as a message says what it is, in a few words: `'min'`, `[1, -2]`, `{optimizer}`, `a Promise`, `the class A`. */
export function spell(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value === 'function') return spellFunction(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) {
    const items = value.slice(0, MOST_ITEMS).map((item) => (isObject(item) ? '{…}' : spell(item)));
    return `[${[...items, ...(value.length > MOST_ITEMS ? ['…'] : [])].join(', ')}]`;
  }
  const { name = 'Object' } = (value.constructor ?? {}) as { readonly name?: string };
  return name === 'Object' ? `{${Object.keys(value).join(', ')}}` : `a ${name}`;
}

const MOST_ITEMS = 8;

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function spellFunction({ name, prototype }: { name: string; prototype?: unknown }): string {
  const kind = typeof prototype === 'object' && /^\p{Lu}/u.test(name) ? 'class' : 'function';
  return name === '' ? 'a function' : `the ${kind} ${name}`;
}
