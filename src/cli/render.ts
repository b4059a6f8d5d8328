/** How a piece of text is set off. */
export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Puts text into a style; without colours it gives the text as it is. */
export type Paint = (style: Style | undefined, text: string) => string;

export const plain: Paint = (_style, text) => text;

/** A cell of a table. Its text may come from a hostile file: what could steer a terminal is escaped. */
export interface Cell {
  readonly text: string;
  readonly style?: Style | undefined;
}

export interface Column {
  readonly title: string;
  /** Default left. */
  readonly align?: 'left' | 'right';
}

const GAP = '  ';

/**
 * Lines of text with the columns under their titles, without a line break at the end. Columns that are
 * empty in every row are left out.
 */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly (Cell | string)[])[],
  paint: Paint,
): string {
  const cells = rows.map((row) => row.map(measured));
  const titles = columns.map(({ title }) => measured({ text: title, style: 'dim' }));
  const used = [...columns.keys()].filter((i) => cells.some((row) => (row[i]?.text ?? '') !== ''));
  const widths = columns.map((_, i) =>
    cells.reduce((most, row) => Math.max(most, row[i]?.width ?? 0), titles[i]?.width ?? 0),
  );
  const last = used.at(-1);
  const line = (row: readonly MeasuredCell[]): string =>
    used
      .map((i) => {
        const { text, style, width } = row[i] ?? NO_CELL;
        const space = ' '.repeat((widths[i] as number) - width);
        if (columns[i]?.align === 'right') return space + paint(style, text);
        return paint(style, text) + (i === last ? '' : space);
      })
      .join(GAP)
      .trimEnd();
  return [titles, ...cells].map(line).join('\n');
}

/** A cell as it is printed, and the columns that it takes. */
interface MeasuredCell extends Cell {
  readonly width: number;
}

const NO_CELL: MeasuredCell = { text: '', width: 0 };

function measured(cell: Cell | string): MeasuredCell {
  const { text, style } = cleaned(cell);
  return { text, style, width: widthOf(text) };
}

/** Lines of names and what they stand for, indented, without a line break at the end. */
export function pairs(
  rows: readonly (readonly [name: string, value: Cell | string])[],
  paint: Paint,
): string {
  const cells = rows.map(([name, value]) => [printable(name), cleaned(value)] as const);
  const width = Math.max(0, ...cells.map(([name]) => widthOf(name)));
  return cells
    .map(([name, { text, style }]) => {
      const space = ' '.repeat(width - widthOf(name));
      return `  ${paint('dim', name)}${space}${GAP}${paint(style, text)}`.trimEnd();
    })
    .join('\n');
}

function cleaned(cell: Cell | string): Cell {
  if (typeof cell === 'string') return { text: printable(cell) };
  return { text: printable(cell.text), style: cell.style };
}

/**
 * Text that can do nothing to a terminal: control characters (line breaks too), direction marks and lone
 * surrogates are spelt out, as `\x1b` and `\u{202e}`.
 */
export function printable(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, (character) => {
    const code = character.codePointAt(0) as number;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** The same for a message, which keeps its line breaks. */
export function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n');
}

/** How many columns printable text takes: two for East Asian wide letters and emoji, none for marks. */
export function widthOf(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const character of text) width += /\p{M}/u.test(character) ? 0 : isWide(character) ? 2 : 1;
  return width;
}

function isWide(character: string): boolean {
  return /[\u1100-\u115f\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u.test(
    character,
  );
}

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** How long something took, or ago it is, in its largest unit: `12 s`, `5 min`, `3 h`, `41 d`. */
export function age(durationMs: number): string {
  const ms = Math.max(0, durationMs);
  if (ms < MINUTE_MS) return `${Math.floor(ms / SECOND_MS)} s`;
  if (ms < HOUR_MS) return `${Math.floor(ms / MINUTE_MS)} min`;
  if (ms < 2 * DAY_MS) return `${Math.floor(ms / HOUR_MS)} h`;
  return `${Math.floor(ms / DAY_MS)} d`;
}

/** A measured number in four digits, for columns: `0.9500`, `12.35`, `1.234e-5`, `nan`. */
export function number(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value);
  const magnitude = Math.abs(value);
  return magnitude >= 1e-4 && magnitude < 1e6
    ? value.toPrecision(Math.max(4, Math.floor(Math.log10(magnitude)) + 1))
    : value.toExponential(3);
}

/** How many there are, in words: `1 checkpoint`, `12,300 checkpoints`. */
export function count(amount: number, noun: string): string {
  return `${amount.toLocaleString('en-US')} ${noun}${amount === 1 ? '' : 's'}`;
}

/** Eighths of a column. */
const BLOCKS = ' ▏▎▍▌▋▊▉█';

/** A histogram as lines: where each part begins, a bar of up to `width` columns, and how many are in it. */
export function histogram(
  {
    low,
    high,
    counts,
  }: { readonly low: number; readonly high: number; readonly counts: readonly number[] },
  width: number,
): string {
  const most = Math.max(...counts, 1);
  const starts = counts.map((_, i) => number(low + (high - low) * (i / counts.length)));
  const startWidth = Math.max(...starts.map((start) => start.length));
  return counts
    .map((amount, i) => {
      const bar = barOf((amount / most) * width, amount > 0);
      const shown = amount.toLocaleString('en-US');
      return `  ${(starts[i] as string).padStart(startWidth)} ${bar.padEnd(width)} ${shown}`;
    })
    .join('\n');
}

function barOf(columns: number, isVisible: boolean): string {
  const eighths = Math.max(Math.round(columns * 8), isVisible ? 1 : 0);
  return '█'.repeat(Math.floor(eighths / 8)) + (eighths % 8 === 0 ? '' : BLOCKS[eighths % 8]);
}

/** Every line moved in by two columns. */
export function indented(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
