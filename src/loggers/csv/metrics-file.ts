import { appendText, readText, replaceText, setAside } from '../durable-file.ts';
import { fitRow, rowOf, type Table, tableAt, tableText, wholeTable } from './table.ts';

/** How far a {@link MetricsFile} has come. Plain JSON. */
export type Position = { readonly rows: number; readonly columns: readonly string[] };

const EMPTY: Table = { columns: [], rows: [] };

/**
 * A table of metrics that grows: rows at its end, and columns at its right when a metric is new. Rows are
 * kept until {@link flush}; when that fails they stay kept, and the next one tries again.
 */
export class MetricsFile {
  readonly path: string;
  readonly #onWarning: (message: string) => void;
  #columns: string[] = ['step'];
  /** Rows not yet in the file, each with the columns of its time. */
  #kept: string[] = [];
  #columnsInFile = 0;
  #rowsInFile = 0;
  #isDurable = true;

  constructor(path: string, onWarning: (message: string) => void) {
    this.path = path;
    this.#onWarning = onWarning;
  }

  /** Rows that are not in the file yet. */
  get keptRows(): number {
    return this.#kept.length;
  }

  get position(): Position {
    return { rows: this.#rowsInFile + this.#kept.length, columns: [...this.#columns] };
  }

  /** Begins an empty table; a file that is there is set aside. */
  async begin(): Promise<void> {
    if ((await readText(this.path)) !== undefined)
      await this.#setAside('was written by another run');
  }

  /** Goes on with the table that is there, as it was at `position`; null: as it is. */
  async restore(position: Position | null): Promise<void> {
    const text = await readText(this.path);
    if (text === undefined) {
      if (position !== null && position.rows > 0) this.#warnMissing(position.rows);
      return;
    }
    const table = position === null ? wholeTable(text) : tableAt(text, position);
    if (table?.columns[0] !== 'step') {
      return this.#setAside('is not the table that this run had written');
    }
    if (tableText(table) !== text) await replaceText(this.path, tableText(table));
    this.#columns = [...table.columns];
    this.#columnsInFile = table.columns.length;
    this.#rowsInFile = table.rows.length;
  }

  /** Adds a row. A metric named `step` yields to the step. */
  add(metrics: Readonly<Record<string, number>>, step: number): void {
    for (const name of Object.keys(metrics)) {
      if (!this.#columns.includes(name)) this.#columns.push(name);
    }
    this.#kept.push(rowOf(this.#columns.map((name) => (name === 'step' ? step : metrics[name]))));
  }

  /** Writes out the rows kept; `isDurable`: they, and all rows before, survive a power cut. */
  async flush(isDurable: boolean): Promise<void> {
    const rows = this.#kept.map((row) => fitRow(row, this.#columns.length));
    if (rows.length === 0 && (!isDurable || this.#isDurable)) return;
    const text = rows.map((row) => `${row}\n`).join('');
    const isAppended =
      this.#columnsInFile === this.#columns.length &&
      (await appendText(this.path, text, isDurable));
    if (isAppended) this.#rowsInFile += rows.length;
    else await this.#rewrite(rows);
    this.#isDurable = isDurable || !isAppended;
    this.#kept.splice(0, rows.length);
  }

  /** For the first row, new columns, and when the file has gone away. Durable. */
  async #rewrite(newRows: readonly string[]): Promise<void> {
    const columns = [...this.#columns];
    const rows = (await this.#rowsWritten()).map((row) => fitRow(row, columns.length));
    rows.push(...newRows);
    await replaceText(this.path, tableText({ columns, rows }));
    this.#columnsInFile = columns.length;
    this.#rowsInFile = rows.length;
  }

  async #rowsWritten(): Promise<readonly string[]> {
    const text = await readText(this.path);
    if (text === undefined) {
      if (this.#rowsInFile > 0) this.#warnMissing(this.#rowsInFile);
      return [];
    }
    const { rows, columns } = wholeTable(text) ?? EMPTY;
    const isOurs =
      rows.length === this.#rowsInFile &&
      columns.length === this.#columnsInFile &&
      columns.every((name, i) => name === this.#columns[i]);
    if (isOurs) return rows;
    await this.#setAside('has been changed by someone else');
    return [];
  }

  async #setAside(why: string): Promise<void> {
    const aside = await setAside(this.path);
    this.#onWarning(
      `CSVLogger: ${this.path} ${why}: it is kept as ${aside}, and a new file is begun.`,
    );
  }

  #warnMissing(rows: number): void {
    this.#onWarning(
      `CSVLogger: ${this.path} is gone, and with it ${rows} rows: a new file is begun.`,
    );
  }
}
