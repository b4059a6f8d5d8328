import { type ProgressView, renderProgress } from './progress-line.ts';

/** Where progress is shown: `process.stderr`, or anything else with these. */
export interface ProgressStream {
  write(text: string): unknown;
  /** A terminal: one line is written over and over. */
  readonly isTTY?: boolean | undefined;
  /** Width of the terminal, read at each painting. */
  readonly columns?: number | undefined;
}

/** How a {@link ProgressPainter} paints. */
export interface ProgressPainterOptions {
  /** Milliseconds, from any beginning, never falling. Default `performance.now`. */
  readonly clock?: () => number;
  /** On a terminal, the least time between two paintings. Default 100. */
  readonly paintIntervalMs?: number;
  /** Elsewhere, the least time between two lines within an epoch. Default 10,000. */
  readonly lineIntervalMs?: number;
  /** Heeded: `NO_COLOR` (https://no-color.org), and `TERM=dumb`, which is no terminal. Default `process.env`. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

const CLEAR = '\r\u001b[K';
/** Without wrapping, a line that is wider than it seems is cut off by the terminal. */
const WRAP_OFF = '\u001b[?7l';
const WRAP_ON = '\u001b[?7h';

/**
 * Shows progress: on a terminal as one line that is written over, elsewhere as plain lines, at most one
 * per `lineIntervalMs` and one at each epoch's end. Escape sequences and colours go to terminals only. It
 * sets no timer: nothing is written but in its methods.
 */
export class ProgressPainter {
  readonly #stream: ProgressStream;
  readonly #clock: () => number;
  readonly #intervalMs: number;
  readonly #isTerminal: boolean;
  readonly #hasColor: boolean;
  /** When it last wrote; where lines are written, or when it began to wait for the first. */
  #lastMs: number;
  /** The line that stands on the terminal, or was last written elsewhere. */
  #line = '';

  constructor(stream: ProgressStream, options: ProgressPainterOptions = {}) {
    const env = options.env ?? (typeof process === 'undefined' ? {} : process.env);
    this.#stream = stream;
    this.#clock = options.clock ?? (() => performance.now());
    this.#isTerminal = stream.isTTY === true && env.TERM !== 'dumb';
    this.#hasColor = this.#isTerminal && !env.NO_COLOR;
    this.#intervalMs = this.#isTerminal
      ? (options.paintIntervalMs ?? 100)
      : (options.lineIntervalMs ?? 10_000);
    this.#lastMs = this.#beginning();
  }

  /**
   * Whether {@link update} would write now: ask before gathering what a view needs, such as metrics that
   * must be read from a device.
   */
  get isDue(): boolean {
    return this.#clock() - this.#lastMs >= this.#intervalMs;
  }

  /** Shows a view, unless the last was shown too short a time ago. */
  update(view: ProgressView): void {
    if (this.isDue) this.#write(view);
  }

  /** Shows a view at once: an epoch has ended. The line stays, so it does not tell of a save that has just begun. */
  endEpoch(view: ProgressView): void {
    this.#write({ ...view, saving: false });
  }

  /**
   * Takes the line off the terminal, so that something else can be printed. The next {@link update} paints
   * it again, at once.
   */
  clear(): void {
    if (!this.#isTerminal || this.#line === '') return;
    this.#stream.write(CLEAR);
    this.#line = '';
    this.#lastMs = this.#beginning();
  }

  /** Training is over, or has failed: shows the last view, if given, and leaves its line standing. */
  end(view?: ProgressView): void {
    if (view !== undefined) this.#write(view);
    if (this.#isTerminal && this.#line !== '') this.#stream.write('\n');
    this.#line = '';
    this.#lastMs = this.#beginning();
  }

  #write(view: ProgressView): void {
    this.#lastMs = this.#clock();
    const line = renderProgress(view, this.#isTerminal ? this.#terminal() : {});
    if (line === this.#line) return;
    this.#line = line;
    this.#stream.write(this.#isTerminal ? CLEAR + WRAP_OFF + line + WRAP_ON : `${line}\n`);
  }

  /** A terminal shows the first view at once; elsewhere the first line waits. */
  #beginning(): number {
    return this.#isTerminal ? Number.NEGATIVE_INFINITY : this.#clock();
  }

  #terminal(): { readonly columns: number; readonly hasColor: boolean } {
    return { columns: this.#stream.columns || 80, hasColor: this.#hasColor };
  }
}
