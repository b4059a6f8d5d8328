import { createInterface } from 'node:readline/promises';
import type { ReadStream, WriteStream } from 'node:tty';
import util from 'node:util';
import { type Paint, plain } from './render.ts';

/** Where a command prints, and whom it asks. */
export interface Terminal {
  /** Results: a line, or several, to standard output. */
  print(text: string): void;
  /** What is not a result (errors, warnings, questions), to standard error. */
  note(text: string): void;
  /** How far a long work has come, on a line that the next one replaces; only where a person watches. */
  progress(line: string): void;
  /** Whether somebody can be asked. */
  readonly isInteractive: boolean;
  /** A question that is answered with yes or no; no, when the input ends. */
  confirm(question: string): Promise<boolean>;
  readonly paint: Paint;
  /** Width in columns; undefined where there is no terminal. */
  readonly columns: number | undefined;
  /** Nobody reads any more what is printed (`| head`). */
  readonly isClosed: boolean;
  /** Milliseconds since 1970, for ages. */
  now(): number;
}

/** The terminal, or the pipes, that this process was started with. */
export function processTerminal(): Terminal {
  const { stdin, stdout, stderr } = process;
  let isClosed = false;
  let progressWidth = 0;
  for (const stream of [stdout, stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      // The reader of a pipe has seen enough. What was asked for is still done.
      if (stream === stdout) isClosed = true;
    });
  }
  const clearProgress = (): void => {
    if (progressWidth > 0) stderr.write(`\r${' '.repeat(progressWidth)}\r`);
    progressWidth = 0;
  };
  return {
    print(text) {
      clearProgress();
      if (!isClosed) stdout.write(`${text}\n`);
    },
    note(text) {
      clearProgress();
      stderr.write(`${text}\n`);
    },
    progress(line) {
      if (!stderr.isTTY) return;
      clearProgress();
      const shown = line.slice(0, Math.max(0, (stderr.columns ?? 80) - 1));
      stderr.write(shown);
      progressWidth = shown.length;
    },
    isInteractive: isTerminal(stdin) && isTerminal(stderr),
    async confirm(question) {
      clearProgress();
      const lines = createInterface({ input: stdin, output: stderr });
      try {
        const ended = new Promise<string>((resolve) => lines.once('close', () => resolve('')));
        const answer = await Promise.race([lines.question(`${question} [y/N] `), ended]);
        return /^y(es)?$/i.test(answer.trim());
      } finally {
        lines.close();
      }
    },
    paint: stdout.isTTY && stdout.hasColors() ? paint : plain,
    columns: stdout.isTTY ? stdout.columns : undefined,
    get isClosed() {
      return isClosed;
    },
    now: () => Date.now(),
  };
}

/** Node before 20.12 has no `styleText`: then there are no colours. */
const paint: Paint = (style, text) =>
  style === undefined ? text : (util.styleText?.(style, text) ?? text);

function isTerminal(stream: ReadStream | WriteStream): boolean {
  return stream.isTTY === true;
}
