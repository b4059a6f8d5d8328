import { expect, it } from 'vitest';
import { highwater } from './captured-terminal.ts';

it.each([
  [[], 'highwater <command>'],
  [['sl'], "There is no command 'sl'."],
  [['lss'], "Did you mean 'ls'?"],
  [['ls', '--jsn'], 'There is no option --jsn. Did you mean --json?'],
  [['ls', '--srot'], 'There is no option --srot. Did you mean --sort?'],
  [['ls', '-x'], 'There is no option -x. There are --sort, --tree, --json, --help.'],
  [['ls', '--sort'], '--sort needs a value: --sort ORDER.'],
  [['ls', '--sort', '--json'], '--sort needs a value'],
  [['ls', '--json=yes'], "--json takes no value, but it was given 'yes'."],
  [['ls', '--sort', 'scor'], "Did you mean 'score'?"],
  [['ls', 'a', 'b'], "ls does not know what to do with 'b'"],
  [['ls', ''], 'Argument 1 of ls is empty.'],
  [['ls', '/there/is/no/such'], "There is no folder '/there/is/no/such'."],
  [['ls', 's3://bucket/run'], 'there is no storage for s3:// URLs. Paths and file:// URLs work'],
  [['ls', 'file://host/run'], 'names a file of another machine'],
  [['ls', 'file:///a%zz'], 'is no URL'],
])('%j is misuse: exit code 2, and what is right', async (args, message) => {
  const { code, out, err } = await highwater(args);
  expect(out + err).toContain(message);
  expect(code).toBe(2);
});

it.each([['--help'], ['-h'], ['help']])('%s lists the commands', async (option) => {
  const { code, out } = await highwater([option]);
  expect(out).toMatch(/^ {2}ls {2}/m);
  expect(code).toBe(0);
});

it('shows the help of a command, with examples, however it is asked for', async () => {
  const { code, out } = await highwater(['ls', '--help']);
  expect(code).toBe(0);
  expect(out).toContain('Examples\n  highwater ls ');
  expect(await highwater(['help', 'ls'])).toEqual({ code, out, err: '' });
  expect(await highwater(['ls', 'a', 'b', '-h'])).toEqual({ code, out, err: '' });
});

it('knows its version', async () => {
  expect((await highwater(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
});
