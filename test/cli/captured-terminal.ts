import { runProgram } from '../../src/cli/program.ts';
import { plain } from '../../src/cli/render.ts';
import type { Terminal } from '../../src/cli/terminal.ts';

/** What a command line printed. */
export interface Outcome {
  readonly code: number;
  /** Standard output. */
  readonly out: string;
  /** Standard error. */
  readonly err: string;
}

/** Runs a command line in this process, as a pipe, or as a terminal whose user gives `answers`. */
export async function highwater(
  args: readonly string[],
  overrides: Partial<Terminal> = {},
): Promise<Outcome> {
  const out: string[] = [];
  const err: string[] = [];
  const code = await runProgram(args, {
    print: (text) => out.push(`${text}\n`),
    note: (text) => err.push(`${text}\n`),
    progress: () => {},
    isInteractive: false,
    confirm: async () => false,
    paint: plain,
    columns: undefined,
    isClosed: false,
    now: () => Date.now(),
    ...overrides,
  });
  return { code, out: out.join(''), err: err.join('') };
}
