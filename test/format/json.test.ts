import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CheckpointFileError, MisconfigurationError } from '../../src/errors.ts';
import {
  decodeJson,
  encodeJson,
  type JsonObject,
  type JsonValue,
  TensorRef,
} from '../../src/format/json.ts';

const TENSORS: ReadonlySet<string> = new Set(['w', 'opt/m', '']);

/** Values of every kind, with keys that look like tags. */
const { value: anyValue } = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constantFrom<JsonValue>(null, true, false, -0, Number.NaN, Infinity, -Infinity),
    fc.double(),
    fc.integer(),
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((c) => String.fromCharCode(c)) }),
    fc.constantFrom(...TENSORS).map((name) => new TensorRef(name)),
    fc.array(tie('value')),
    fc.dictionary(
      fc
        .oneof(
          fc.string({ unit: 'binary' }),
          fc.constantFrom('$', '$$', '$number', '$$number', '$tensor', 'constructor', '0', ''),
        )
        .filter((key) => key !== '__proto__'),
      tie('value'),
      { noNullPrototype: true },
    ),
  ),
}));

function nested(levels: number): JsonValue {
  let value: JsonValue = [];
  for (let i = 1; i < levels; i++) value = i % 2 ? { a: value } : [value];
  return value;
}

function refusal(text: string): CheckpointFileError {
  try {
    decodeJson(text, { tensors: TENSORS });
  } catch (error) {
    if (error instanceof CheckpointFileError) return error;
  }
  throw new Error(`not refused as it should be: ${text.slice(0, 100)}`);
}

describe('a value', () => {
  test('comes back the very same, with the same text', () => {
    fc.assert(
      fc.property(anyValue, (value) => {
        const text = encodeJson(value, TENSORS);
        const back = decodeJson(text, { tensors: TENSORS });
        expect(encodeJson(back, TENSORS)).toBe(text);
        expect(isDeepStrictEqual(back, value)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    [-0, '-0.0'],
    [Number.NaN, '{"$number":"NaN"}'],
    [-Infinity, '{"$number":"-Infinity"}'],
    [1e21, '1e+21'],
    [0.1, '0.1'],
    [{ a: undefined, b: 1 }, '{"b":1}'],
    [{ $number: 'NaN' }, '{"$$number":"NaN"}'],
    [{ $$number: 'NaN' }, '{"$$$number":"NaN"}'],
    [new TensorRef('w'), '{"$tensor":"w"}'],
    [{ b: [1, 'é\ud800"'], a: null }, '{"b":[1,"é\\ud800\\""],"a":null}'],
  ] as const)('%j is written as %s', (value, text) => {
    expect(encodeJson(value as JsonValue, TENSORS)).toBe(text);
  });

  test('is read like JSON.parse reads it, where JSON.parse would do', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 10 }), (text) => {
        fc.pre(!/"(\$|__proto__)/.test(text));
        expect(decodeJson(text)).toStrictEqual(JSON.parse(text));
      }),
    );
  });

  test('may have white space around it', () => {
    expect(decodeJson(' \t\r\n{ "a" : [ 1 , 2 ] , "b" : { } } ')).toEqual({ a: [1, 2], b: {} });
  });

  test('has its own plain prototype, and own members only', () => {
    const value = decodeJson('{"constructor":1,"toString":2}') as JsonObject;
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect(Object.keys(value)).toEqual(['constructor', 'toString']);
  });

  test('of a hundred levels is written and read, with one more of a tag', () => {
    const deepest = nested(100);
    expect(decodeJson(encodeJson(deepest))).toEqual(deepest);
    const text = `${'['.repeat(100)}{"$number":"NaN"}${']'.repeat(100)}`;
    expect(encodeJson(decodeJson(text))).toBe(text);
  });

  test('of a hundred thousand members takes time in proportion', () => {
    const members = Array.from({ length: 100_000 }, (_, i) => [`path/epoch=${i}.ckpt`, i / 7]);
    const value = Object.fromEntries(members) as JsonObject;
    const start = performance.now();
    expect(decodeJson(encodeJson(value))).toEqual(value);
    expect(performance.now() - start).toBeLessThan(5000);
  });
});

describe('encodeJson refuses', () => {
  const cycle: Record<string, unknown> = {};
  cycle.self = [cycle];
  class Schedule {}

  test.each([
    ['a bigint', { hyperParameters: { lr: 1n } }, 'hyperParameters.lr is a bigint'],
    ['a function', { a: [0, () => 1] }, 'a[1] is a function'],
    ['a symbol', { 'a b': Symbol('x') }, '["a b"] is a symbol'],
    ['undefined in an array', [undefined], '[0] is undefined'],
    ['a hole', { a: new Array(1) }, 'a[0] is undefined'],
    ['undefined itself', undefined, 'The value is undefined'],
    ['a class instance', { s: new Schedule() }, 's is an instance of Schedule'],
    ['a date', { d: new Date(0) }, 'd is an instance of Date'],
    ['a map', [new Map()], '[0] is an instance of Map'],
    ['a typed array', { t: new Float32Array(1) }, 't is an instance of Float32Array'],
    ['a boxed number', { n: Object(1) }, 'n is an instance of Number'],
    ['a nameless class', { x: new (class {})() }, 'x is an instance of a class'],
    ['a cycle', { c: cycle }, 'c.self[0] contains itself'],
    ['a symbol as a key', { o: { [Symbol('k')]: 1 } }, 'o has a key that is a symbol'],
    [
      '__proto__',
      { o: JSON.parse('{"__proto__":1}') },
      'o.__proto__ has a key that is not allowed',
    ],
    ['too many levels', nested(101), 'is nested more than 100 levels deep'],
    ['another tensor', { t: new TensorRef('x') }, 't refers to "x"'],
  ])('%s', (_, value, message) => {
    const encode = (): string => encodeJson(value as JsonValue, TENSORS);
    expect(encode).toThrow(MisconfigurationError);
    expect(encode).toThrow(message);
  });

  test('nothing that stands twice without containing itself', () => {
    const shared = { x: 1 };
    expect(encodeJson({ a: shared, b: [shared, shared] })).toBe(
      '{"a":{"x":1},"b":[{"x":1},{"x":1}]}',
    );
  });
});

describe('decodeJson refuses', () => {
  test.each([
    ['', 0, 'expected a value, found the end'],
    ['[1,]', 3, 'expected a value'],
    ['[1 2]', 3, "expected ',' or ']'"],
    ['[1', 2, 'found the end'],
    ['{"a":1,}', 7, 'a key in double quotes'],
    ['{"a" 1}', 5, "expected ':'"],
    ['{a:1}', 1, 'a key in double quotes'],
    ['{"é":x}', 6, 'found "x"'],
    ['1 1', 2, 'expected nothing more'],
    ['nul', 0, 'expected a value'],
    ['NaN', 0, 'expected a value'],
    ['01', 1, 'expected nothing more'],
    ['1.', 1, 'expected nothing more'],
    ['+1', 0, 'expected a value'],
    ['\ufeff1', 0, 'expected a value'],
    ['\u00a01', 0, 'expected a value'],
    ['1e999', 0, 'too large'],
    ['"a', 2, 'ends inside a string'],
    ['"a\n"', 2, 'control character'],
    ['"a\\x"', 2, 'no known escape'],
    ['"\\u12g4"', 1, 'no known escape'],
    ['"\\', 1, 'no known escape'],
    ['{"a":1,"\\u0061":2}', 7, 'the key "a" stands twice'],
    ['{"__proto__":1}', 1, '"__proto__"'],
    ['[{"\\u005f_proto__":{}}]', 2, '"__proto__"'],
    ['{"$numbr":"NaN"}', 1, 'the tag "$numbr" is not known'],
    ['{"$number":"nan"}', 11, 'not a number that needs a tag'],
    ['{"$number":1}', 11, 'expected a string'],
    ['{"$number":"NaN","a":1}', 17, 'alone'],
    ['{"a":1,"$number":"NaN"}', 7, 'alone'],
    ['{"$tensor":"x"}', 11, 'there is no tensor "x"'],
    ['[[{"$":"NaN"}]]', 3, 'is not known'],
  ])('%j at byte %i: %s', (text, byteOffset, message) => {
    const error = refusal(text);
    expect(error.message).toContain(message);
    expect(error).toMatchObject({ code: 'CHECKPOINT_INVALID', byteOffset });
  });

  test.each(['[', '{"a":', '[{"a":'])('%j without end, before any stack overflows', (opening) => {
    expect(refusal(opening.repeat(1_000_000)).message).toContain('100 levels');
  });

  test('an empty object or array at level 101', () => {
    expect(refusal(`${'['.repeat(100)}{}`).byteOffset).toBe(100);
    expect(refusal(`${'['.repeat(100)}[]`).byteOffset).toBe(100);
  });

  test('what JSON.parse refuses, in any damaged text', () => {
    const damaged = fc
      .tuple(fc.json(), fc.nat(), fc.constantFrom(...'{}[],:"\\0e-.u\n x$'))
      .map(([text, at, put]) => {
        const i = at % (text.length + 1);
        return text.slice(0, i) + put + text.slice(i + 1);
      });
    fc.assert(
      fc.property(damaged, (text) => {
        let value: unknown;
        try {
          value = decodeJson(text, { tensors: TENSORS });
        } catch {
          return;
        }
        fc.pre(!text.includes('"$'));
        expect(value).toStrictEqual(JSON.parse(text));
      }),
      { numRuns: 2000 },
    );
  });
});
