import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fitRow, rowOf, tableAt, tableText, wholeTable } from '../../../src/loggers/csv/table.ts';

const values = fc.option(fc.double(), { nil: undefined });
const tables = fc
  .uniqueArray(fc.string({ unit: 'binary-ascii' }), { minLength: 1, maxLength: 6 })
  .chain((names) =>
    fc.record({
      columns: fc.constant(['step', ...names.filter((name) => name !== 'step')]),
      numbers: fc.array(fc.tuple(fc.nat(), fc.array(values, { maxLength: 5 })), { maxLength: 8 }),
    }),
  )
  .map(({ columns, numbers }) => ({
    columns,
    rows: numbers.map(([step, others]) => fitRow(rowOf([step, ...others]), columns.length)),
  }));

describe('rowOf', () => {
  it.each([
    [0.1, '0.1'],
    [1e-7, '1e-7'],
    [1e21, '1e+21'],
    [-0, '-0.0'],
    [10, '10'],
    [Math.fround(0.1), '0.10000000149011612'],
    [Number.NaN, 'nan'],
    [Number.POSITIVE_INFINITY, 'inf'],
    [Number.NEGATIVE_INFINITY, '-inf'],
    [undefined, ''],
  ])('spells %s as %s', (value, text) => {
    expect(rowOf([value])).toBe(text);
  });

  it('gives back the same double', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
        expect(Object.is(Number(rowOf([value])), value)).toBe(true);
      }),
    );
  });
});

describe('a table', () => {
  it('quotes names as RFC 4180 has it', () => {
    const text = tableText({
      columns: ['step', 'a,b', 'say "x"', 'two\nlines'],
      rows: ['1,2,3,4'],
    });
    expect(text).toBe('step,"a,b","say ""x""","two\nlines"\n1,2,3,4\n');
  });

  it('reads back a name that holds a Windows line break', () => {
    const table = { columns: ['step', '\r\n', ''], rows: ['1,2,'] };
    expect(wholeTable(tableText(table))).toEqual(table);
  });

  it('reads back what it wrote', () => {
    fc.assert(
      fc.property(tables, (table) => {
        expect(wholeTable(tableText(table))).toEqual(table);
      }),
    );
  });

  it('reads the line breaks of Windows', () => {
    expect(wholeTable('step,a\r\n1,2\r\n')).toEqual({ columns: ['step', 'a'], rows: ['1,2'] });
  });

  it('goes back to fewer rows and columns, whatever follows them', () => {
    fc.assert(
      fc.property(tables, fc.nat(), fc.string(), (table, at, tail) => {
        const rows = at % (table.rows.length + 1);
        const then = { columns: table.columns.slice(0, 1 + (at % table.columns.length)), rows };
        expect(tableAt(`${tableText(table)}1${tail}`, then)).toEqual({
          columns: then.columns,
          rows: table.rows.slice(0, rows).map((row) => fitRow(row, then.columns.length)),
        });
      }),
    );
  });

  it.each([
    '',
    'step',
    'step,a',
    'step,a\n1,2',
    'step,a\n1,2,3\n',
    'step,a\n1,x\n',
    'step,step\n1,2\n',
    'step,"a\n1,2\n',
    'step,a"b\n1,2\n',
  ])('is not %j', (text) => {
    expect(wholeTable(text)).toBeUndefined();
    expect(tableAt(text, { columns: ['step', 'a'], rows: 1 })).toBeUndefined();
  });

  it('is not one with fewer rows or other columns than it had', () => {
    expect(tableAt('step,a\n1,2\n', { columns: ['step', 'a'], rows: 2 })).toBeUndefined();
    expect(tableAt('step,a\n1,2\n', { columns: ['step', 'b'], rows: 1 })).toBeUndefined();
    expect(tableAt('step\n1\n', { columns: ['step', 'a'], rows: 1 })).toBeUndefined();
  });
});
