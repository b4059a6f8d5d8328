import fc from 'fast-check';
import { expect, it } from 'vitest';
import { MisconfigurationError } from '../../src/errors.ts';
import { decidePrune, type PruneRules } from '../../src/inspection/prune-plan.ts';
import type { CheckpointSummary, FileState } from '../../src/inspection/summary.ts';

const DAY_MS = 86_400_000;
const NOW = Date.parse('2026-01-31T00:00:00Z');

function file(name: string, about: Partial<CheckpointSummary> = {}): CheckpointSummary {
  return {
    path: `/run/${name}`,
    name,
    folder: '/run',
    epoch: 0,
    globalStep: 1,
    monitor: 'loss',
    score: 1,
    rank: null,
    best: false,
    last: false,
    sizeBytes: 1,
    savedAt: new Date(NOW).toISOString(),
    state: 'whole',
    mode: 'min',
    target: null,
    problem: null,
    sequence: about.globalStep ?? 1,
    metrics: [],
    ...about,
  };
}

const ranked = (step: number, score: number, about: Partial<CheckpointSummary> = {}) =>
  file(`${step}.ckpt`, { globalStep: step, score, rank: 1, ...about });
const lastOf = (step: number, about: Partial<CheckpointSummary> = {}) =>
  file('last.ckpt', { globalStep: step, last: true, score: null, ...about });

const run = [ranked(1, 0.3), ranked(2, 0.1), ranked(3, 0.2), ranked(4, 0.4), lastOf(4)];

function kept(files: readonly CheckpointSummary[], rules: PruneRules): string[] {
  return decidePrune(files, rules, NOW).keep.map(({ checkpoint }) => checkpoint.name);
}

it.each<[PruneRules, string[]]>([
  [{ keepTop: 1 }, ['2.ckpt']],
  [{ keepTop: 2 }, ['2.ckpt', '3.ckpt']],
  [{ keepLast: 1 }, ['last.ckpt']],
  [{ keepLast: 2 }, ['3.ckpt', 'last.ckpt']],
  [{ keepTop: 1, keepLast: 1 }, ['2.ckpt', 'last.ckpt']],
  [{ keepTop: 9 }, ['1.ckpt', '2.ckpt', '3.ckpt', '4.ckpt']],
  [{ keepTop: 0, keepLast: 0 }, ['last.ckpt']],
  [{ keepTop: 1, by: 'loss', mode: 'max' }, ['4.ckpt']],
])('by %j keeps %j', (rules, names) => {
  expect(kept(run, rules)).toEqual(names);
});

it('keeps what is young, whatever its score', () => {
  const old = new Date(NOW - 8 * DAY_MS).toISOString();
  const files = [
    ranked(1, 0.1, { savedAt: old }),
    ranked(2, 0.3),
    ranked(3, 0.2, { savedAt: old }),
  ];
  expect(kept(files, { keepTop: 1, olderThanMs: 7 * DAY_MS })).toEqual(['1.ckpt', '2.ckpt']);
  expect(kept(files, { olderThanMs: 9 * DAY_MS })).toEqual(['1.ckpt', '2.ckpt', '3.ckpt']);
});

it('keeps what a kept link leads to, and removes a link before what it leads to', () => {
  const target = ranked(4, 0.4);
  const link = lastOf(4, { target: target.path });
  expect(kept([ranked(2, 0.1), target, link], { keepLast: 1 })).toEqual(['4.ckpt', 'last.ckpt']);
  const { remove } = decidePrune([ranked(2, 0.1), target, link], { keepTop: 1 }, NOW);
  expect(remove.map(({ checkpoint }) => checkpoint.name)).toEqual(['last.ckpt', '4.ckpt']);
});

it('ranks by another metric that the files hold, if it is told what is better', () => {
  const metrics = (value: number) => [{ name: 'acc', value, loggedFor: 0 }];
  const files = [
    ranked(1, 0.1, { metrics: metrics(0.5) }),
    ranked(2, 0.2, { metrics: metrics(0.9) }),
  ];
  expect(kept(files, { keepTop: 1, by: 'acc', mode: 'max' })).toEqual(['2.ckpt']);
  expect(() => kept(files, { keepTop: 1, by: 'acc' })).toThrow(/say so with mode/);
  expect(() => kept(files, { keepTop: 1, by: 'f1', mode: 'max' })).toThrow(/'f1'.*'loss', 'acc'/);
});

it('keeps the best of each monitor, and takes NaN for the worst', () => {
  const files = [
    ranked(1, Number.NaN),
    ranked(2, 0.5),
    ranked(3, 0.1, { monitor: 'acc', mode: 'max' }),
    ranked(4, 0.7, { monitor: 'acc', mode: 'max' }),
  ];
  expect(kept(files, { keepTop: 1 })).toEqual(['2.ckpt', '4.ckpt']);
});

it('never counts weights alone among the newest or the best of what training can go on from', () => {
  // An average has the step of the newest, and a name that may come after all others.
  const soup = file('soup.ckpt', { globalStep: 4, state: 'weights only', score: 0.01 });
  expect(kept([...run, soup], { keepTop: 1, keepLast: 1 })).toEqual([
    '2.ckpt',
    'last.ckpt',
    'soup.ckpt',
  ]);
  const unscored = { ...soup, monitor: null, score: null, mode: null };
  const rules = { keepTop: 1, keepLast: 1, by: 'loss', mode: 'min' } as const;
  expect(kept([...run, unscored], rules)).toContain('last.ckpt');
});

it('leaves weights alone that were never ranked, in a folder of nothing else', () => {
  const made = ['soup.ckpt', 'back.ckpt'].map((name) => ({
    ...file(name, { globalStep: 4, state: 'weights only' }),
    monitor: null,
    score: null,
    mode: null,
    metrics: [],
  }));
  expect(kept(made, { keepTop: 1, keepLast: 1 })).toEqual(['soup.ckpt', 'back.ckpt']);
});

it.each<[string, PruneRules, string]>([
  ['no rule', {}, 'say what stays'],
  ['a negative count', { keepTop: -1 }, 'keepTop is -1'],
  ['half a file', { keepLast: 0.5 }, 'keepLast is 0.5'],
  ['no time', { olderThanMs: Number.NaN }, 'olderThanMs is NaN'],
  ['scores where there are none', { keepTop: 1, keepLast: 1 }, 'no checkpoint has one'],
])('refuses %s', (_, rules, message) => {
  const files = [file('a.ckpt', { monitor: null, mode: null, score: null })];
  expect(() => decidePrune(files, rules, NOW)).toThrow(MisconfigurationError);
  expect(() => decidePrune(files, rules, NOW)).toThrow(message);
});

const anyFile = fc
  .record({
    globalStep: fc.integer({ min: 1, max: 4 }),
    score: fc.constantFrom(null, 0, 1, 2, Number.NaN),
    rank: fc.constantFrom(null, 1),
    last: fc.boolean(),
    state: fc.constantFrom<FileState>(
      'whole',
      'weights only',
      'foreign',
      'corrupt',
      'dangling link',
    ),
    ageMs: fc.integer({ min: 0, max: 10 }),
    target: fc.constantFrom(null, 0, 1, 2, 3),
  })
  .map(({ ageMs, ...about }) => ({ ...about, savedAt: new Date(NOW - ageMs).toISOString() }));
const anyFolder = fc
  .array(anyFile, { maxLength: 8 })
  .map((files) =>
    files.map(({ target, ...about }, i) =>
      file(`${i}.ckpt`, { ...about, target: target === null ? null : `/run/${target}.ckpt` }),
    ),
  );
const anyRules = fc.record({
  keepTop: fc.constantFrom(undefined, 0),
  keepLast: fc.nat({ max: 3 }),
  olderThanMs: fc.constantFrom(undefined, 0, 5),
});

it('never takes the last whole one, a foreign file, or what a kept link leads to', () => {
  fc.assert(
    fc.property(anyFolder, anyRules, (files, rules) => {
      const { keep, remove } = decidePrune(files, rules, NOW);
      expect(new Set([...keep, ...remove].map(({ checkpoint }) => checkpoint))).toEqual(
        new Set(files),
      );
      expect(keep.length + remove.length).toBe(files.length);
      const own = (state: FileState) => state === 'whole' || state === 'weights only';
      expect(remove.every(({ checkpoint }) => own(checkpoint.state))).toBe(true);
      const isKept = (state: FileState) =>
        keep.some(({ checkpoint }) => checkpoint.state === state);
      if (files.some(({ state }) => state === 'whole')) expect(isKept('whole')).toBe(true);
      else if (files.some(({ state }) => own(state))) expect(isKept('weights only')).toBe(true);
      const gone = new Set(remove.map(({ checkpoint }) => checkpoint.path));
      const dangling = keep.filter(
        ({ checkpoint }) => own(checkpoint.state) && gone.has(checkpoint.target ?? ''),
      );
      expect(dangling).toEqual([]);
    }),
  );
});
