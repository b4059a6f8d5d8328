import { readFile } from 'node:fs/promises';
import { closest } from '../closest.ts';
import { readArguments } from './arguments.ts';
import { type Command, type ExitCode, Misuse } from './command.ts';
import { commandHelp, programHelp } from './help.ts';
import { printableLines } from './render.ts';
import type { Terminal } from './terminal.ts';

/** Every command, loaded only when it is asked for. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  ls: async () => (await import('./commands/ls.ts')).ls,
  show: async () => (await import('./commands/show.ts')).show,
  verify: async () => (await import('./commands/verify.ts')).verify,
  diff: async () => (await import('./commands/diff.ts')).diff,
  why: async () => (await import('./commands/why.ts')).why,
  prune: async () => (await import('./commands/prune.ts')).prune,
  average: async () => (await import('./commands/average.ts')).average,
  import: async () => (await import('./commands/import.ts')).importCommand,
  export: async () => (await import('./commands/export.ts')).exportCommand,
};

/** Codes of errors that say something about a file, rather than that nothing could be found out. */
const FINDINGS: ReadonlySet<unknown> = new Set([
  'CHECKPOINT_INVALID',
  'CHECKPOINT_FOREIGN',
  'CHECKPOINT_VERSION',
]);

/** Runs one command line, without the program's name. Never throws: what went wrong is told. */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const [first, ...rest] = args;
  const { paint } = terminal;
  try {
    if (first === undefined || first === '--help' || first === '-h' || first === 'help') {
      const [about] = rest;
      if (first === 'help' && about !== undefined) {
        terminal.print(commandHelp(await load(about), paint));
      } else {
        terminal.print(programHelp(await loadAll(), paint));
      }
      return first === undefined ? 2 : 0;
    }
    if (first === '--version' || first === '-v') {
      terminal.print(await version());
      return 0;
    }
    return await runCommand(await load(first), rest, terminal);
  } catch (error) {
    return tell(error, terminal, 'highwater --help');
  }
}

async function runCommand(
  command: Command,
  args: readonly string[],
  terminal: Terminal,
): Promise<ExitCode> {
  try {
    const given = readArguments(command, args);
    if (given !== undefined) return await command.run(given, terminal);
    terminal.print(commandHelp(command, terminal.paint));
    return 0;
  } catch (error) {
    return tell(error, terminal, `highwater ${command.name} --help`);
  }
}

async function load(name: string): Promise<Command> {
  const loader = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (loader !== undefined) return await loader();
  const names = Object.keys(commands);
  const meant = closest(name, names);
  throw new Misuse(
    `There is no command '${name}'. ` +
      (meant === undefined ? `There are ${names.join(', ')}.` : `Did you mean '${meant}'?`),
  );
}

async function loadAll(): Promise<readonly Command[]> {
  return await Promise.all(Object.values(commands).map((loader) => loader()));
}

async function version(): Promise<string> {
  const manifest = await readFile(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(manifest) as { version: string }).version;
}

/** Says what went wrong, for a person, and gives the exit code. */
function tell(error: unknown, terminal: Terminal, help: string): ExitCode {
  const message = error instanceof Error ? error.message : String(error);
  terminal.note(`${terminal.paint('red', 'highwater:')} ${printableLines(message)}`);
  if (error instanceof Misuse) terminal.note(`See ${help}`);
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return FINDINGS.has(code) ? 1 : 2;
}
