import type { Terminal } from './terminal.ts';

/** 0: fine; 1: it found something (damage, a difference); 2: it could not do what was asked. */
export type ExitCode = 0 | 1 | 2;

/** An option of a command: `--name`, or `--name VALUE` when it is a string. */
export interface Option {
  readonly type: 'boolean' | 'string';
  /** One letter: `-o`. */
  readonly short?: string;
  /** What the help calls its value: `FILE`. */
  readonly value?: string;
  readonly description: string;
}

export type Options = Readonly<Record<string, Option>>;

/** What the user gave. An option that was not given is absent. */
export interface Arguments<O extends Options = Options> {
  readonly values: { readonly [K in keyof O]?: O[K]['type'] extends 'boolean' ? boolean : string };
  /** What stands without an option: files and folders. */
  readonly operands: readonly string[];
  /** `--json`, which every command has. */
  readonly json: boolean;
}

/** One command, in a file of its own under `commands/`. It parses and renders; the API does the work. */
export interface Command<O extends Options = Options> {
  readonly name: string;
  /** One line for the list of all commands: a verb first, no full stop. */
  readonly summary: string;
  /** What follows the name: `<folder> [options]`. */
  readonly usage: string;
  /** More for its own help: what is not obvious, what the exit code says. */
  readonly description?: string;
  /** Of its own; `--json` and `--help` are every command's. */
  readonly options: O;
  /** How many operands it takes, both inclusive. */
  readonly operands: { readonly least: number; readonly most: number };
  /** A whole command line, and what it does. */
  readonly examples: readonly (readonly [line: string, what: string])[];
  /**
   * @throws Misuse for what the user can put right; whatever the API throws.
   */
  run(given: Arguments<O>, terminal: Terminal): Promise<ExitCode>;
}

/** A command with the types of its own options checked. */
export function defineCommand<const O extends Options>(command: Command<O>): Command {
  return command as unknown as Command;
}

/** The command line was wrong: exit code 2, with a message that says what is right. */
export class Misuse extends Error {
  override readonly name: string = 'Misuse';
}
