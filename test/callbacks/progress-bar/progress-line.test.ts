import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatElapsed,
  type ProgressView,
  renderProgress,
} from '../../../src/callbacks/progress-bar/progress-line.ts';

const view: ProgressView = {
  stage: 'train',
  epoch: 0,
  maxEpochs: 10,
  batch: 450,
  batches: 1000,
  elapsedMs: 12_000,
  globalStep: 450,
  metrics: { loss: 0.123456, acc: 0.5 },
  saving: false,
};

const views = fc.record({
  stage: fc.constantFrom('sanity', 'train', 'validate', 'test', 'predict'),
  epoch: fc.nat(2000),
  maxEpochs: fc.constantFrom(undefined, Number.POSITIVE_INFINITY, 3, 1000),
  batch: fc.nat(1000),
  batches: fc.constantFrom(undefined, Number.POSITIVE_INFINITY, 0, 1000),
  firstBatch: fc.nat(1000),
  elapsedMs: fc.nat(),
  globalStep: fc.nat(),
  metrics: fc.dictionary(fc.string({ unit: 'binary' }), fc.double()),
  saving: fc.boolean(),
}) satisfies fc.Arbitrary<ProgressView>;

describe('renderProgress', () => {
  it('shows epoch, batches, step, rate, time left and metrics', () => {
    expect(renderProgress(view)).toBe(
      'Epoch 0/9  450/1000  step 450  37.5 it/s  0:15 left  loss 0.1235  acc 0.5000',
    );
  });

  it('fills the room of a terminal with a bar', () => {
    expect(renderProgress(view, { columns: 100 })).toBe(
      'Epoch 0/9  ━━━━━━━━━─────────────  450/1000  step 450  37.5 it/s  0:15 left  loss 0.1235  acc 0.5000',
    );
    expect(renderProgress({ ...view, batch: 1000 }, { columns: 200 })).toContain(
      `  ${'━'.repeat(30)}  `,
    );
    expect(renderProgress({ ...view, batch: 999 }, { columns: 200 })).toContain(
      `  ${'━'.repeat(29)}─  `,
    );
  });

  it('leaves out the bar, then the last metrics, where there is no room', () => {
    expect(renderProgress(view, { columns: 76 })).toBe(renderProgress(view));
    expect(renderProgress(view, { columns: 74 })).toMatch(/loss 0.1235$/);
    expect(renderProgress(view, { columns: 30 })).toBe('Epoch 0/9  450/1000  step 450');
    expect(renderProgress(view, { columns: 5 })).toBe('Epoch');
  });

  it('never takes more columns than there are, nor more than one line', () => {
    fc.assert(
      fc.property(
        views,
        fc.integer({ min: 1, max: 200 }),
        fc.boolean(),
        (any, columns, hasColor) => {
          const line = stripVTControlCharacters(renderProgress(any, { columns, hasColor }));
          expect(Array.from(line).length).toBeLessThanOrEqual(columns);
          expect(line).not.toMatch(/\p{Cc}/u);
          expect(line).not.toMatch(/undefined|Infinity|NaN/);
        },
      ),
    );
  });

  it('colours without changing the text', () => {
    const saving = { ...view, saving: true };
    const line = renderProgress(saving, { columns: 120, hasColor: true });
    expect(line).toContain('\u001b[33msaving\u001b[39m');
    expect(stripVTControlCharacters(line)).toBe(renderProgress(saving, { columns: 120 }));
  });

  it('says when a save is in flight, before the metrics', () => {
    expect(renderProgress({ ...view, saving: true })).toContain('0:15 left  saving  loss');
  });

  it('shows the time taken when the last batch is done', () => {
    expect(renderProgress({ ...view, batch: 1000, elapsedMs: 80_000 })).toContain(
      '12.5 it/s  in 1:20',
    );
  });

  it('counts the rate from where a resumed run began', () => {
    const resumed = { ...view, firstBatch: 400, elapsedMs: 5000 };
    expect(renderProgress(resumed)).toContain('10.0 it/s  0:55 left');
  });

  it('shows neither rate nor time before the first batch', () => {
    expect(renderProgress({ ...view, batch: 0, elapsedMs: 0, metrics: {} })).toBe(
      'Epoch 0/9  0/1000  step 450',
    );
  });

  it('shows what it knows when epochs and batches are without limit', () => {
    const endless = { ...view, maxEpochs: Number.POSITIVE_INFINITY, batches: undefined };
    expect(renderProgress(endless, { columns: 100 })).toBe(
      'Epoch 0  450 batches  step 450  37.5 it/s  loss 0.1235  acc 0.5000',
    );
  });

  it.each([
    ['sanity', 'Sanity check  1/2  2.00 it/s'],
    ['validate', 'Epoch 0/9 validation  1/2  step 450  2.00 it/s'],
    ['test', 'Test  1/2  2.00 it/s'],
    ['predict', 'Prediction  1/2  2.00 it/s'],
  ] as const)('names the stage %s', (stage, start) => {
    const other = { ...view, stage, batch: 1, batches: 2, elapsedMs: 500, metrics: {} };
    expect(renderProgress(other)).toBe(`${start}  0:01 left`);
  });

  it.each([
    [100_000, 1000, '100000 it/s'],
    [999, 1000, '999 it/s'],
    [3, 2000, '1.50 it/s'],
    [1, 4000, '4.00 s/it'],
  ])('spells %s batches in %s ms as %s', (batch, elapsedMs, rate) => {
    const line = renderProgress({ ...view, batch, elapsedMs, batches: undefined });
    expect(line).toContain(`  ${rate}  `);
  });

  it.each([
    [10, '10'],
    [-0.5, '-0.5000'],
    [0.00012346, '0.0001235'],
    [1e-9, '1.000e-9'],
    [12_345.67, '12345.7'],
    [1e6, '1.000e+6'],
    [Number.NaN, 'nan'],
    [Number.POSITIVE_INFINITY, 'inf'],
    [Number.NEGATIVE_INFINITY, '-inf'],
  ])('spells the metric %s as %s', (value, text) => {
    expect(
      renderProgress({ ...view, metrics: { m: value } })
        .split(' ')
        .at(-1),
    ).toBe(text);
  });
});

describe('formatElapsed', () => {
  it.each([
    [0, '0:00'],
    [499, '0:00'],
    [7_000, '0:07'],
    [59_600, '1:00'],
    [725_000, '12:05'],
    [3_723_000, '1:02:03'],
    [176_400_000, '49:00:00'],
  ])('spells %s ms as %s', (ms, text) => {
    expect(formatElapsed(ms)).toBe(text);
  });
});
