import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonText } from '../../src/cli/json.ts';
import {
  age,
  histogram,
  number,
  type Paint,
  pairs,
  plain,
  printable,
  table,
  widthOf,
} from '../../src/cli/render.ts';
import { treeLines } from '../../src/cli/tree.ts';
import { sizeText } from '../../src/size-text.ts';

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [9_949, '9.9 kB'],
  [9_950, '10 kB'],
  [999_499, '999 kB'],
  [999_999, '1.0 MB'],
  [1_226_288, '1.2 MB'],
  [2 ** 40, '1.1 TB'],
  [Number.MAX_SAFE_INTEGER, '9 PB'],
])('a size of %d bytes is %s', (bytes, text) => {
  expect(sizeText(bytes)).toBe(text.replace('9 PB', '9.0 PB'));
});

it.each([
  [-5000, '0 s'],
  [59_999, '59 s'],
  [60_000, '1 min'],
  [3_600_000, '1 h'],
  [47 * 3_600_000, '47 h'],
  [48 * 3_600_000, '2 d'],
])('an age of %d ms is %s', (ms, text) => {
  expect(age(ms)).toBe(text);
});

it.each([
  [0.95, '0.9500'],
  [0.949999988079071, '0.9500'],
  [12.345, '12.35'],
  [12345.6, '12346'],
  [0.0001, '0.0001000'],
  [0.00001234, '1.234e-5'],
  [1e7 + 0.5, '1.000e+7'],
  [705, '705'],
  [-0.5, '-0.5000'],
  [Number.NaN, 'nan'],
  [-Infinity, '-inf'],
])('the number %d is %s', (value, text) => {
  expect(number(value)).toBe(text);
});

describe('a table', () => {
  const columns = [{ title: 'name' }, { title: 'n', align: 'right' }, { title: 'note' }] as const;

  it('aligns, and leaves out columns that are empty in every row', () => {
    const rows = [
      ['a', '1', ''],
      ['long', '100', ''],
    ];
    expect(table(columns, rows, plain)).toBe('name    n\na       1\nlong  100');
  });

  it('keeps its columns straight, whatever is in its cells', () => {
    const cell = fc.string({ unit: 'binary', maxLength: 8 });
    const rows = fc.array(fc.tuple(cell, cell), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(rows, (rows) => {
        const marked = rows.map(([a, b]) => [`${a}`, b, '|']);
        const lines = table(
          [{ title: 'a' }, { title: 'b', align: 'right' }, { title: '|' }],
          marked,
          plain,
        ).split('\n');
        const places = lines.map((line) => widthOf(line.slice(0, line.lastIndexOf('|'))));
        expect(new Set(places).size).toBe(1);
      }),
    );
  });

  it('paints the text, not the space around it', () => {
    const paint: Paint = (style, text) => (style === undefined ? text : `<${text}>`);
    const rows = [[{ text: 'a', style: 'red' as const }, '1', 'x']];
    expect(table(columns, rows, paint).split('\n')[1]).toBe('<a>     1  x');
    expect(pairs([['k', { text: 'v', style: 'green' }]], paint)).toBe('  <k>  <v>');
  });
});

it('lets nothing through that could steer a terminal', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      expect(printable(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
      expect(printable(printable(text))).toBe(printable(text));
      // The same for JSON, which stays what it was.
      expect(jsonText({ [text]: text })).not.toMatch(/[\p{Cf}\p{Zl}\p{Zp}]|[^\P{Cc}\n]/u);
      expect(JSON.parse(jsonText([text]))).toEqual([text]);
    }),
  );
  expect(printable('\x1b[31mred\x9b\u202e\ud800')).toBe('\\x1b[31mred\\x9b\\u{202e}\\u{d800}');
});

it('spells numbers that JSON does not have as strings', () => {
  expect(JSON.parse(jsonText([Number.NaN, Infinity, -Infinity, 2n ** 60n]))).toEqual([
    'NaN',
    'Infinity',
    '-Infinity',
    '1152921504606846976',
  ]);
});

it('draws a histogram in which what is there can be seen', () => {
  expect(histogram({ low: 0, high: 3, counts: [100, 0, 1] }, 4)).toBe(
    ['  0 ████ 100', '  1      0', '  2 ▏    1'].join('\n'),
  );
});

it('draws folders as a tree, and joins those that hold one folder only', () => {
  const lines = treeLines(['a/b/1.ckpt', 'a/b/2.ckpt', 'c.ckpt', 'd/1.ckpt']);
  expect(lines.map(({ branch, name }) => branch + name)).toEqual([
    '├─ a/b',
    '│  ├─ 1.ckpt',
    '│  └─ 2.ckpt',
    '├─ c.ckpt',
    '└─ d',
    '   └─ 1.ckpt',
  ]);
  expect(lines.flatMap(({ leaf }) => leaf ?? [])).toEqual([0, 1, 2, 3]);
});
