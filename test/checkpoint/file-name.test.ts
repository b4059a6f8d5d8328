import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkContained,
  checkTemplateContained,
  firstFreeName,
  formatCheckpointName,
  metricNames,
  type NamedValue,
  type NameOptions,
  parseTemplate,
} from '../../src/checkpoint/file-name.ts';
import { MisconfigurationError } from '../../src/errors.ts';

/** Floats, but for `epoch` and `step`. */
function metrics(values: Readonly<Record<string, number>>): ReadonlyMap<string, NamedValue> {
  return new Map(
    Object.entries(values).map(([name, value]) => {
      const kind = name === 'epoch' || name === 'step' ? 'integer' : 'float';
      return [name, { value, kind }];
    }),
  );
}

const nameOf = (
  template: string | undefined,
  values: Readonly<Record<string, number>>,
  options?: NameOptions,
): string => formatCheckpointName(template, metrics(values), options).name;

/** What `act` throws, which must be a misconfiguration. */
function refusal(act: () => unknown): MisconfigurationError {
  try {
    act();
  } catch (error) {
    if (error instanceof MisconfigurationError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('formatCheckpointName', () => {
  // The examples of Lightning's page on ModelCheckpoint, and their results.
  it.each<[string, Record<string, number>, string, NameOptions?]>([
    ['{epoch}', { epoch: 0 }, 'epoch=0.ckpt'],
    ['{epoch:03d}', { epoch: 5 }, 'epoch=005.ckpt'],
    ['{epoch}-{val_loss:.2f}', { epoch: 2, val_loss: 0.123456 }, 'epoch=2-val_loss=0.12.ckpt'],
    ['{epoch:d}', { epoch: 2, val_loss: 0.12 }, 'epoch=2.ckpt'],
    [
      'epoch={epoch}-validation_loss={val_loss:.2f}',
      { epoch: 2, val_loss: 0.123456 },
      'epoch=2-validation_loss=0.12.ckpt',
      { autoInsertMetricName: false },
    ],
    ['{missing:d}', {}, 'missing=0.ckpt'],
    ['{step}', { step: 0 }, 'step=0.ckpt'],
    [
      '{epoch}-{val_loss:.2f}-{other_metric:.2f}',
      { epoch: 2, val_loss: 0.0200001, other_metric: 0.03 },
      'epoch=2-val_loss=0.02-other_metric=0.03.ckpt',
    ],
    ['checkpoint_{epoch:02d}-{acc:02d}', { epoch: 1, acc: 80 }, 'checkpoint_epoch=01-acc=80.ckpt'],
    ['{epoch}-last', { epoch: 3 }, 'epoch=3-last.ckpt'],
  ])('makes of %s with %j the name %s', (template, values, name, options) => {
    expect(nameOf(template, values, options)).toBe(name);
  });

  it.each<[string | undefined, string, NameOptions?]>([
    [undefined, 'epoch=3-step=12.ckpt'],
    ['', 'epoch=3-step=12.ckpt'],
    [undefined, 'epoch:3_step:12.bin', { joinChar: '_', equalsChar: ':', extension: '.bin' }],
    [undefined, '3-12', { autoInsertMetricName: false, extension: '' }],
    ['last', 'last-v2.ckpt', { version: 2 }],
    ['{epoch}', 'pre-epoch=3-v0.ckpt', { prefix: 'pre', version: 0 }],
    ['{epoch}', '_epoch=3_v1.ckpt', { prefix: '', version: 1, joinChar: '_' }],
    ['{epoch_test}-{epoch}', 'epoch_test=8.0-epoch=3.ckpt'],
    ['a/{val/loss:.1f}/{acc@1:%}', 'a/val/loss=0.2/acc@1=50.000000%.ckpt'],
    ['{val loss}{val.loss}', '1e-05nan.ckpt', { autoInsertMetricName: false }],
    ['{{{epoch}}}', '{epoch=3}.ckpt'],
    ['a}}{{epoch}}', 'a}{epoch}.ckpt'],
    ['../{epoch:}', '../epoch=3.ckpt'],
  ])('makes of %s the name %s', (template, name, options) => {
    const values = { epoch: 3, step: 12, epoch_test: 8, 'val/loss': 0.25, 'acc@1': 0.5 };
    const odd = { 'val loss': 1e-5, 'val.loss': Number.NaN };
    expect(nameOf(template, { ...values, ...odd }, options)).toBe(name);
  });

  it('prints a missing metric as 0 and tells once', () => {
    expect(formatCheckpointName('{a}-{b:.2f}-{a:03d}-{c:.2}', new Map())).toEqual({
      name: 'a=0-b=0.00-a=000-c=0.ckpt',
      warnings: ['a', 'b', 'c'].map((metric) => ({ kind: 'missing-metric', metric })),
    });
  });

  it('prints what a spec cannot print without the spec and tells once', () => {
    const values = metrics({ loss: 0.5, epoch: 4 });
    expect(formatCheckpointName('{loss:d}-{loss:03d}-{loss:d}-{epoch:.2}', values)).toEqual({
      name: 'loss=0.5-loss=0.5-loss=0.5-epoch=4.ckpt',
      warnings: [
        { kind: 'unprintable', metric: 'loss', spec: 'd', value: 0.5 },
        { kind: 'unprintable', metric: 'loss', spec: '03d', value: 0.5 },
        { kind: 'unprintable', metric: 'epoch', spec: '.2', value: 4 },
      ],
    });
  });

  it('tells of nothing when all is there', () => {
    expect(formatCheckpointName(undefined, metrics({ epoch: 0, step: 1 })).warnings).toEqual([]);
  });

  it('knows no metric that was not logged', () => {
    const { warnings } = formatCheckpointName('{constructor}-{__proto__}', new Map());
    expect(warnings).toHaveLength(2);
  });

  it('gives every value a name', () => {
    fc.assert(
      fc.property(
        fc.double(),
        fc.constantFrom('', 'd', '.3e', ',', 'z.1%', '+08g'),
        (value, spec) => {
          const { name } = formatCheckpointName(`{m:${spec}}`, metrics({ m: value }));
          expect(name).toMatch(/^m=.+\.ckpt$/);
          checkContained(name.slice(0, 200));
        },
      ),
    );
  });
});

describe('parseTemplate', () => {
  it.each([
    ['{epoch', `the '{' at index 0 has no '}'`],
    ['{epoch:', `the '{' at index 0 has no '}'`],
    ['a-{', `the '{' at index 2 has no '}'`],
    ['epoch}', `the '}' at index 5 has no '{'`],
    ['{epoch}}', `the '}' at index 7 has no '{'`],
    ['{{epoch}', `the '}' at index 7 has no '{'`],
    ['{a{b}}', `the '{' at index 0 has no '}'`],
    ['{loss:.{n}f}', `the '{' at index 0 has no '}'`],
    ['a{}', `the group '{}' names no metric`],
    ['{:.2f}', `the group '{:.2f}' names no metric`],
    ['{loss:.2q}', `in the group '{loss:.2q}', '.2q' is no format spec`],
    ['{loss:.2d}', `in the group '{loss:.2d}', '.2d' is no format spec`],
    ['{loss:.999999999f}', `'.999999999f' is no format spec`],
    ['{a:b:c}', `'b:c' is no format spec`],
  ])('refuses %s', (template, problem) => {
    const error = refusal(() => parseTemplate(template));
    expect(error.message).toContain(`filename is '${template}'`);
    expect(error.message).toContain(problem);
    expect(error.details).toMatchObject({ option: 'filename', value: template });
  });

  it('names the option that the template came from', () => {
    expect(refusal(() => parseTemplate('{', 'CHECKPOINT_NAME_LAST')).message).toContain(
      `CHECKPOINT_NAME_LAST is '{'`,
    );
    expect(
      refusal(() => formatCheckpointName('}', new Map(), { option: 'other' })).details,
    ).toMatchObject({ option: 'other' });
  });

  it('keeps every text that has no braces', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const escaped = text.replace(/[{}]/g, '$&$&');
        expect(parseTemplate(escaped).join('')).toBe(text);
      }),
    );
  });

  it('either parses a template or refuses it', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'{}:a0.<\n') }), (template) => {
        try {
          formatCheckpointName(template, new Map());
        } catch (error) {
          expect(error).toBeInstanceOf(MisconfigurationError);
        }
      }),
    );
  });
});

describe('metricNames', () => {
  it.each([
    ['{epoch}-{val/loss:.2f}-{epoch:03d}', ['epoch', 'val/loss']],
    ['{epoch!r}{epoch :d}', ['epoch!r', 'epoch ']],
    ['last', []],
    ['', []],
  ])('finds in %s the metrics %j', (template, names) => {
    expect(metricNames(template)).toEqual(names);
  });
});

describe('checkContained', () => {
  it.each([
    'a.ckpt',
    'a/b/c.ckpt',
    './a.ckpt',
    '..a/...ckpt',
    'a..',
    'C:a',
    'v1: a\\b',
    '~/a',
    'a\n',
    `${'é'.repeat(127)}a`,
    `${'x'.repeat(255)}/${'y'.repeat(255)}`,
  ])('lets %j pass', (name) => {
    expect(() => checkContained(name)).not.toThrow();
  });

  it.each([
    ['..', `a '..' part`],
    ['../a', `a '..' part`],
    ['a/../b', `a '..' part`],
    ['a/..', `a '..' part`],
    ['a\\..\\..\\b', `a '..' part`],
    ['a/%2e%2E/b', `a '..' part`],
    ['a/.%2e', `a '..' part`],
    ['/a', 'an absolute path'],
    ['//host/a', 'an absolute path'],
    ['\\a', 'an absolute path'],
    ['\\\\host\\a', 'an absolute path'],
    ['c:\\a', 'an absolute path'],
    ['C:/a', 'an absolute path'],
    ['a\0b', 'a NUL character'],
    ['', 'an empty part'],
    ['a//b', 'an empty part'],
    ['a/', 'an empty part'],
    ['x'.repeat(256), 'a part of 256 bytes'],
    [`a/${'é'.repeat(128)}/b`, 'a part of 256 bytes'],
    ['😀'.repeat(64), 'a part of 256 bytes'],
    ['\ud800'.repeat(86), 'a part of 258 bytes'],
  ])('refuses %j: %s', (name, rule) => {
    const error = refusal(() => checkContained(name, 'CHECKPOINT_NAME_LAST'));
    expect(error.message).toContain('CHECKPOINT_NAME_LAST');
    expect(error.message).toContain(`'${name}'`);
    expect(error.message).toContain(rule);
    expect(error.details).toMatchObject({ option: 'CHECKPOINT_NAME_LAST', value: name });
  });
});

describe('checkTemplateContained', () => {
  it.each<[string, NameOptions?]>([
    ['{epoch}-{step}'],
    ['runs/{val/loss:.2f}'],
    ['..'], // with its extension `...ckpt`
    ['{../x}', { autoInsertMetricName: false }],
  ])('lets %s pass', (template, options) => {
    expect(() => checkTemplateContained(template, options)).not.toThrow();
  });

  it.each<[string, NameOptions?]>([
    ['../{epoch}'],
    ['{epoch}/../../a'],
    ['/tmp/{epoch}'],
    ['C:\\{epoch}'],
    ['{../x}'],
    ['..', { extension: '' }],
    ['{epoch:/>9}'],
    ['a\0'],
    [`${'x'.repeat(250)}{epoch}`],
    ['{epoch'],
  ])('refuses %j', (template, options) => {
    expect(refusal(() => checkTemplateContained(template, options)).message).toContain('filename');
  });
});

describe('firstFreeName', () => {
  const nameForVersion = (version: number | undefined): string => nameOf('last', {}, { version });

  it.each<[string[], number | undefined, string]>([
    [[], undefined, 'last.ckpt'],
    [['last-v1.ckpt'], undefined, 'last.ckpt'],
    [['last.ckpt'], undefined, 'last-v1.ckpt'],
    [['last.ckpt', 'last-v1.ckpt', 'last-v2.ckpt'], undefined, 'last-v3.ckpt'],
    [['last.ckpt'], 0, 'last-v0.ckpt'],
    [['last.ckpt', 'last-v1.ckpt'], 5, 'last-v5.ckpt'],
  ])('beside %j, from version %s, is %s', (taken, startingVersion, name) => {
    const isTaken = (path: string): boolean => taken.includes(path);
    expect(firstFreeName(nameForVersion, isTaken, startingVersion)).toBe(name);
  });
});
