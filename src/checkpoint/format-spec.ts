import { type Decimal, exactDecimal, roundDecimal, shortestDecimal } from './decimal.ts';

/** Whether a number prints as Python's `float` (`2.0`) or as its `int` (`2`). */
export type NumberKind = 'float' | 'integer';

/** A parsed format spec: `[[fill]align][sign][z][#][0][width][grouping][.precision][type]`. */
export interface FormatSpec {
  /** One character (code point), default a space; `0` when the width starts with `0`. */
  readonly fill: string;
  /** `=` pads between the sign and the digits. Default `>`; `=` when the width starts with `0`. */
  readonly align: '<' | '>' | '=' | '^';
  /** What stands before a number that is not negative: nothing (`-`, the default), `+` or a space. */
  readonly sign: '-' | '+' | ' ';
  /** `z`: a negative number that rounds to zero prints without its sign. */
  readonly dropsNegativeZero: boolean;
  /** `#`: the decimal point stays when nothing follows it, and `g` keeps trailing zeros. */
  readonly isAlternate: boolean;
  /** The least number of characters, `[0, MAX_SPEC_NUMBER]`. Default 0. */
  readonly width: number;
  /** Between groups of three digits before the decimal point. Default nothing. */
  readonly grouping: '' | ',' | '_';
  /** Decimals of `e`, `f` and `%`; significant digits of `g` and of no type. `[0, MAX_SPEC_NUMBER]`. */
  readonly precision: number | undefined;
  /** `''` is no type: `repr` of a float, or `g` with at least one decimal when there is a precision. */
  readonly type: '' | 'd' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%';
}

/**
 * The largest width and precision that {@link parseFormatSpec} accepts: a part of a file name has at most
 * 255 bytes, so more can never be of use, and would only take time and memory.
 */
export const MAX_SPEC_NUMBER = 255;

const grammar =
  /^(?:(?<fill>.)?(?<align>[<>=^]))?(?<sign>[-+ ])?(?<z>z)?(?<alternate>#)?(?<zero>0)?(?<width>\d+)?(?<grouping>[,_])?(?:\.(?<precision>\d+))?(?<type>[deEfFgG%])?$/su;

/**
 * Parses a spec of Python's format mini-language for numbers.
 *
 * @returns undefined when it is none: not of the grammar, of another type than `d e E f F g G %` or none,
 * with a width or precision above {@link MAX_SPEC_NUMBER}, or one that prints no number at all (`d` with a
 * precision or with `z`).
 *
 * Source: CPython 3.11, `parse_internal_render_format_spec` in `Python/formatter_unicode.c`.
 */
export function parseFormatSpec(spec: string): FormatSpec | undefined {
  const parts = grammar.exec(spec)?.groups;
  if (parts === undefined) return undefined;
  // After a fill of one's own the 0 is only the width's first digit.
  const isZeroPadded = parts.zero !== undefined && parts.fill === undefined;
  const parsed: FormatSpec = {
    fill: parts.fill ?? (isZeroPadded ? '0' : ' '),
    align: (parts.align ?? (isZeroPadded ? '=' : '>')) as FormatSpec['align'],
    sign: (parts.sign ?? '-') as FormatSpec['sign'],
    dropsNegativeZero: parts.z !== undefined,
    isAlternate: parts.alternate !== undefined,
    width: Number(parts.width ?? 0),
    grouping: (parts.grouping ?? '') as FormatSpec['grouping'],
    precision: parts.precision === undefined ? undefined : Number(parts.precision),
    type: (parts.type ?? '') as FormatSpec['type'],
  };
  if (Math.max(parsed.width, parsed.precision ?? 0) > MAX_SPEC_NUMBER) return undefined;
  if (parsed.type === 'd' && !takesIntegers(parsed)) return undefined;
  return parsed;
}

/**
 * Prints a number as CPython 3.11 does: exact decimal rounding of the double, ties to even, exponents of
 * at least two digits, `-0.0`, `inf` and `nan` (which has no sign). An `'integer'` that is not one prints
 * as a float. Unlike in Python, `d` prints a float without a fraction as the integer it is, so that a
 * metric such as a count may use `{count:03d}`.
 *
 * @returns undefined when the spec cannot print this value: `d` of a float with a fraction, infinite or NaN,
 * and no type of an integer together with a precision or `z`.
 *
 * Source: CPython 3.11, `format_float_internal` and `format_long_internal`.
 */
export function formatNumber(
  value: number,
  spec: FormatSpec,
  kind: NumberKind,
): string | undefined {
  const printsInteger = spec.type === 'd' || (spec.type === '' && kind === 'integer');
  if (printsInteger && Number.isInteger(value)) {
    if (!takesIntegers(spec)) return undefined;
    return arrange(value < 0, String(BigInt(Math.abs(value))), spec);
  }
  return spec.type === 'd' ? undefined : formatFloat(value, spec);
}

/** `repr(float)` of Python: the shortest decimal that reads back as this double, as `10.0` or `1e-05`. */
export function reprFloat(value: number): string {
  return formatFloat(value, plain);
}

const plain: FormatSpec = {
  fill: ' ',
  align: '>',
  sign: '-',
  dropsNegativeZero: false,
  isAlternate: false,
  width: 0,
  grouping: '',
  precision: undefined,
  type: '',
};

function takesIntegers(spec: FormatSpec): boolean {
  return spec.precision === undefined && !spec.dropsNegativeZero;
}

function formatFloat(number: number, spec: FormatSpec): string {
  // Multiplied as a double, like Python: .1% of 0.145 rounds what 0.145 * 100 is.
  const value = spec.type === '%' ? number * 100 : number;
  const suffix = spec.type === '%' ? '%' : '';
  const isNegative = value < 0 || Object.is(value, -0);
  if (!Number.isFinite(value)) {
    const name = Number.isNaN(value) ? 'nan' : 'inf';
    return arrange(isNegative, inCaseOf(spec, name) + suffix, spec);
  }
  const body = writeFinite(value, spec);
  const isZero = !/^[^eE]*[1-9]/.test(body);
  const dropsSign = spec.dropsNegativeZero && isZero;
  return arrange(isNegative && !dropsSign, inCaseOf(spec, body) + suffix, spec);
}

function inCaseOf(spec: FormatSpec, text: string): string {
  return spec.type === 'E' || spec.type === 'F' || spec.type === 'G' ? text.toUpperCase() : text;
}

/** `|value|` by the spec's type, precision and `#`. */
function writeFinite(value: number, spec: FormatSpec): string {
  const { isAlternate } = spec;
  switch (spec.type) {
    case 'e':
    case 'E': {
      const precision = spec.precision ?? 6;
      const rounded = roundDecimal(exactDecimal(value), precision + 1);
      return writeExponential(rounded, precision, isAlternate);
    }
    case 'f':
    case 'F':
    case '%': {
      const precision = spec.precision ?? 6;
      const exact = exactDecimal(value);
      const rounded = roundDecimal(exact, exact.point + precision);
      return writeFixed(rounded, precision, isAlternate);
    }
    case 'g':
    case 'G':
      return writeGeneral(value, spec.precision ?? 6, { isAlternate, leastDecimals: 0 });
    default:
      return spec.precision === undefined
        ? writeShortest(value, isAlternate)
        : writeGeneral(value, spec.precision, { isAlternate, leastDecimals: 1 });
  }
}

function writeShortest(value: number, isAlternate: boolean): string {
  const shortest = shortestDecimal(value);
  return shortest.point > -4 && shortest.point <= 16
    ? writeFixed(shortest, 1, isAlternate)
    : writeExponential(shortest, 0, isAlternate);
}

/** `g`: fixed or exponential, whichever suits. With `leastDecimals` 1, as no type with a precision has it. */
function writeGeneral(
  value: number,
  precision: number,
  { isAlternate, leastDecimals }: { readonly isAlternate: boolean; readonly leastDecimals: 0 | 1 },
): string {
  const significant = Math.max(precision, 1);
  const rounded = roundDecimal(exactDecimal(value), significant);
  const { point } = rounded;
  const shown = { digits: rounded.digits.replace(/0+$/, ''), point };
  if (point > -4 && point <= significant - leastDecimals) {
    const decimals = isAlternate ? significant - point : 0;
    return writeFixed(shown, Math.max(decimals, leastDecimals), isAlternate);
  }
  return writeExponential(shown, isAlternate ? significant - 1 : 0, isAlternate);
}

function writeExponential(decimal: Decimal, decimals: number, keepsPoint: boolean): string {
  const exponent = decimal.point - 1;
  const size = String(Math.abs(exponent)).padStart(2, '0');
  const mantissa = writeFixed({ digits: decimal.digits, point: 1 }, decimals, keepsPoint);
  return `${mantissa}e${exponent < 0 ? '-' : '+'}${size}`;
}

/** The digits with at least `decimals` of them behind the point. */
function writeFixed({ digits, point }: Decimal, decimals: number, keepsPoint: boolean): string {
  const whole = point > 0 ? digits.slice(0, point).padEnd(point, '0') : '0';
  const behind = point > 0 ? digits.slice(point) : digits && '0'.repeat(-point) + digits;
  const fraction = behind.padEnd(decimals, '0');
  return fraction === '' && !keepsPoint ? whole : `${whole}.${fraction}`;
}

/** Adds sign, grouping and padding to `text`, a number without its sign. */
function arrange(isNegative: boolean, text: string, spec: FormatSpec): string {
  const sign = isNegative ? '-' : spec.sign === '-' ? '' : spec.sign;
  const whole = /^\d*/.exec(text)?.[0] ?? '';
  const rest = text.slice(whole.length);
  // Zeros that fill up before the digits are grouped with them.
  const leastWhole =
    spec.fill === '0' && spec.align === '=' ? spec.width - sign.length - rest.length : 0;
  const body = group(whole, spec.grouping, leastWhole) + rest;
  const missing = Math.max(spec.width - sign.length - body.length, 0);
  const padding = spec.fill.repeat(missing);
  switch (spec.align) {
    case '<':
      return sign + body + padding;
    case '>':
      return padding + sign + body;
    case '=':
      return sign + padding + body;
    case '^': {
      const before = spec.fill.repeat(Math.floor(missing / 2));
      return before + sign + body + spec.fill.repeat(Math.ceil(missing / 2));
    }
  }
}

/** Groups digits, with so many leading zeros that the result has `leastWidth` characters, or one more. */
function group(digits: string, separator: string, leastWidth: number): string {
  if (digits === '' || separator === '') return digits;
  const leastDigits = leastWidth - Math.floor((leastWidth - 1) / 4);
  return digits.padStart(leastDigits, '0').replace(/\B(?=(?:\d{3})+$)/g, separator);
}
