import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatNumber,
  MAX_SPEC_NUMBER,
  type NumberKind,
  parseFormatSpec,
  reprFloat,
} from '../../src/checkpoint/format-spec.ts';
import { pythonRows } from './format-spec.table.ts';

const print = (value: number, spec: string, kind: NumberKind = 'float'): string | undefined => {
  const parsed = parseFormatSpec(spec);
  return parsed && formatNumber(value, parsed, kind);
};

const finite = fc.double({ noNaN: true, noDefaultInfinity: true });
const spec = fc
  .record({
    align: fc.constantFrom('', '<', '>', '=', '^', '*<', '0>', '=^', 'é='),
    sign: fc.constantFrom('', '+', '-', ' '),
    flags: fc.constantFrom('', 'z', '#', '0', 'z#0'),
    width: fc.constantFrom('', '1', '9', '40'),
    grouping: fc.constantFrom('', ',', '_'),
    precision: fc.constantFrom('', '.0', '.1', '.3', '.17', '.40'),
    type: fc.constantFrom('', 'e', 'E', 'f', 'F', 'g', 'G', '%'),
  })
  .map((parts) => Object.values(parts).join(''));

describe('formatNumber', () => {
  it.each(pythonRows)(
    'prints %d with the spec %j as Python its %s: %j',
    (value, text, kind, printed) => {
      expect(print(value, text, kind)).toBe(printed);
    },
  );

  it('prints an integral float by d as an integer, and no other float', () => {
    expect(print(80, '02d')).toBe('80');
    expect(print(-0, 'd')).toBe('0');
    expect(print(2 ** 70, ',d')).toBe('1,180,591,620,717,411,303,424');
    for (const value of [0.5, Number.NaN, Number.NEGATIVE_INFINITY]) {
      expect(print(value, 'd')).toBeUndefined();
      expect(print(value, 'd', 'integer')).toBeUndefined();
    }
  });

  it('prints an integer that is none as a float', () => {
    expect(print(0.5, '', 'integer')).toBe('0.5');
    expect(print(Number.NaN, '3', 'integer')).toBe('nan');
  });

  it('prints with enough digits what reads back as the same double', () => {
    fc.assert(
      fc.property(finite, (value) => {
        for (const text of ['', '.17g', '.17', '.16e', '#.17G']) {
          expect(Number(print(value, text))).toBe(value);
        }
      }),
    );
  });

  it('prints the double exactly when there is room for all its digits', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), fc.integer({ min: 0, max: 60 }), (count, shift) => {
        const [whole, decimals = ''] = (print(count / 2 ** shift, '.60f') ?? '').split('.');
        expect(BigInt(`${whole}${decimals}`) << BigInt(shift)).toBe(BigInt(count) * 10n ** 60n);
      }),
    );
  });

  it('rounds to the nearest decimal, and a tie to the even one', () => {
    fc.assert(
      fc.property(fc.integer({ min: -1e6, max: 1e6 }), (half) => {
        const rounded = Number(print(half / 2, '.0f'));
        expect(Math.abs(rounded - half / 2)).toBeLessThanOrEqual(0.5);
        if (half % 2 !== 0) expect(rounded % 2).toBeCloseTo(0);
      }),
    );
  });

  it('pads every value to the width, around what it prints without one', () => {
    fc.assert(
      fc.property(fc.double(), spec, (value, text) => {
        const parsed = parseFormatSpec(text);
        if (parsed === undefined) throw new Error(text);
        const padded = formatNumber(value, parsed, 'float') ?? '';
        expect([...padded].length).toBeGreaterThanOrEqual(parsed.width);
        if (parsed.fill === '0') return; // such zeros are grouped with the digits
        const bare = formatNumber(value, { ...parsed, width: 0 }, 'float') ?? '';
        expect([...padded]).toHaveLength(Math.max(parsed.width, bare.length));
        expect(padded).toContain(parsed.align === '=' ? bare.replace(/^[-+ ]/, '') : bare);
      }),
    );
  });
});

describe('parseFormatSpec', () => {
  it.each([
    ...[
      'x',
      'n',
      'b',
      'c',
      's',
      'dd',
      '2q',
      '.f',
      '.',
      '-.',
      '1.',
      '.2.3',
      ',,',
      ',_f',
      '_,f',
      '2,3',
    ],
    ...['#z', '0+5', ',5', '**<5', 'f2', 'D', '.-1f', '٣d', '{>5}'],
    ...['.2d', '.0d', 'zd'],
    ...['256', '.256f', '08256', '.999999999f', '99999999999999999999', '.1e5f'],
  ])('refuses %j', (text) => {
    expect(parseFormatSpec(text)).toBeUndefined();
  });

  it('takes the largest width and precision', () => {
    const text = `${MAX_SPEC_NUMBER}.${MAX_SPEC_NUMBER}f`;
    expect(print(Number.MIN_VALUE, text)).toMatch(/^0\.0{255}$/);
    expect(print(-Number.MAX_VALUE, text)).toHaveLength(1 + 309 + 1 + MAX_SPEC_NUMBER);
  });

  it('answers any text at once, and only with a spec that prints', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'<>=^+- z#0123456789,_.deEfFgG%x😀') }),
        fc.double(),
        (text, value) => {
          const parsed = parseFormatSpec(text);
          if (parsed === undefined || parsed.type === 'd') return;
          expect(formatNumber(value, parsed, 'float')).toEqual(expect.any(String));
        },
      ),
    );
  });
});

describe('reprFloat', () => {
  it.each([
    [10, '10.0'],
    [0.5, '0.5'],
    [1e-5, '1e-05'],
    [1e16, '1e+16'],
    [-0, '-0.0'],
    [Number.POSITIVE_INFINITY, 'inf'],
    [Number.NEGATIVE_INFINITY, '-inf'],
    [Number.NaN, 'nan'],
    [Math.fround(0.1), '0.10000000149011612'],
    [5e-324, '5e-324'],
  ])('prints %d as %s', (value, printed) => {
    expect(reprFloat(value)).toBe(printed);
  });

  it('reads back as the same double', () => {
    fc.assert(fc.property(finite, (value) => Object.is(Number(reprFloat(value)), value)));
  });
});
