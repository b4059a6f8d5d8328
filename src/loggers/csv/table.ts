/** A table of numbers as CSV: its columns, and each row as the text of its line. */
export interface Table {
  readonly columns: readonly string[];
  readonly rows: readonly string[];
}

/** A field of a header: quoted, with quotes doubled, or plain; and what ends it. */
const HEADER_FIELD = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n)/y;

/** A row: numbers, `nan`, `inf` and empty fields, none of which needs quotes. */
const ROW = /^[-+.\deinfa,]+$/;

/** A header's line, `\n` included. Names with commas, quotes or line breaks are quoted, as in RFC 4180. */
function headerLine(columns: readonly string[]): string {
  return `${columns.map(quoteName).join(',')}\n`;
}

function quoteName(name: string): string {
  return /[",\r\n]/.test(name) ? `"${name.replaceAll('"', '""')}"` : name;
}

/**
 * A row of numbers, without line break; undefined is an empty field. Each number in the fewest digits that
 * give back the same double; `nan`, `inf`, `-inf` and `-0.0` as Python spells them.
 */
export function rowOf(values: readonly (number | undefined)[]): string {
  return values.map((value) => (value === undefined ? '' : spellNumber(value))).join(',');
}

function spellNumber(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return Object.is(value, -0) ? '-0.0' : String(value);
}

/** A row with so many fields: empty ones are added, or its last ones left out. */
export function fitRow(row: string, columns: number): string {
  const fields = row.split(',');
  if (fields.length > columns) return fields.slice(0, columns).join(',');
  return row + ','.repeat(columns - fields.length);
}

/** The text of a table, line breaks `\n`. */
export function tableText({ columns, rows }: Table): string {
  return headerLine(columns) + rows.map((row) => `${row}\n`).join('');
}

/**
 * Reads a table back, up to the first line that is cut short or is not a row of numbers with a field for
 * each column. Line breaks may be `\r\n`.
 *
 * @returns undefined when the header is not whole or names a column twice: it is no table.
 */
function parseTable(text: string): Table | undefined {
  const columns: string[] = [];
  let end: string | undefined;
  HEADER_FIELD.lastIndex = 0;
  do {
    const field = HEADER_FIELD.exec(text);
    if (field === null) return undefined;
    const [, quoted, plain = ''] = field;
    columns.push(quoted?.replaceAll('""', '"') ?? plain);
    end = field[3];
  } while (end === ',');
  if (new Set(columns).size < columns.length) return undefined;
  return { columns, rows: rowsOf(text.slice(HEADER_FIELD.lastIndex), columns.length) };
}

function rowsOf(text: string, columns: number): string[] {
  const lines = text.split(/\r?\n/);
  // What follows the last line break: nothing, or a line cut short.
  lines.pop();
  const end = lines.findIndex((line) => !ROW.test(line) || line.split(',').length !== columns);
  return end === -1 ? lines : lines.slice(0, end);
}

/** The table that a text is, every byte of it; undefined when it is none, or anything else is in it. */
export function wholeTable(text: string): Table | undefined {
  const table = parseTable(text);
  const plain = (lines: string): string => lines.replaceAll('\r\n', '\n');
  return table !== undefined && plain(tableText(table)) === plain(text) ? table : undefined;
}

/**
 * The table as it was when it had `rows` rows and these columns: what was added since is left out.
 *
 * @returns undefined when the text is not such a table.
 */
export function tableAt(
  text: string,
  { columns, rows }: { readonly columns: readonly string[]; readonly rows: number },
): Table | undefined {
  const table = parseTable(text);
  if (table === undefined || table.rows.length < rows) return undefined;
  if (columns.some((name, i) => name !== table.columns[i])) return undefined;
  return { columns, rows: table.rows.slice(0, rows).map((row) => fitRow(row, columns.length)) };
}
