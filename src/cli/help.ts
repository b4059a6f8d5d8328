import { COMMON } from './arguments.ts';
import type { Command, Option } from './command.ts';
import { type Paint, widthOf } from './render.ts';

/** The help of one command. */
export function commandHelp(command: Command, paint: Paint): string {
  const { name, summary, usage, description, options, examples } = command;
  const all = Object.entries({ ...options, ...COMMON });
  const sections = [
    `${paint('bold', `highwater ${name}`)} ${usage}`,
    `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.${description === undefined ? '' : `\n\n${description}`}`,
    section(
      'Options',
      all.map(([option, spec]) => [spellOption(option, spec), spec.description]),
      paint,
    ),
    section('Examples', examples, paint),
    exitCodes(paint),
  ];
  return sections.join('\n\n');
}

/** The list of all commands. */
export function programHelp(commands: readonly Command[], paint: Paint): string {
  return [
    `${paint('bold', 'highwater')} <command> [options]`,
    'Looks into folders of checkpoints, and keeps them in order.',
    section(
      'Commands',
      commands.map(({ name, summary }) => [name, summary]),
      paint,
    ),
    section(
      'Options',
      [
        ['--help, -h', 'show this help; after a command, its own'],
        ['--version', 'show the version'],
      ],
      paint,
    ),
    exitCodes(paint),
  ].join('\n\n');
}

function exitCodes(paint: Paint): string {
  const codes = '0 fine, 1 it found something, 2 it could not do what was asked.';
  return `${paint('bold', 'Exit codes')}  ${codes}`;
}

function spellOption(name: string, { short, value, type }: Option): string {
  const long = `--${name}${type === 'string' ? ` ${value ?? 'VALUE'}` : ''}`;
  return short === undefined ? long : `${long}, -${short}`;
}

function section(
  title: string,
  rows: readonly (readonly [left: string, right: string])[],
  paint: Paint,
): string {
  const width = Math.max(...rows.map(([left]) => widthOf(left)));
  const lines = rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`);
  return [paint('bold', title), ...lines].join('\n');
}
