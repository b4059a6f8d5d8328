import { beforeEach, describe, expect, it } from 'vitest';
import type { ProgressView } from '../../../src/callbacks/progress-bar/progress-line.ts';
import {
  ProgressPainter,
  type ProgressStream,
} from '../../../src/callbacks/progress-bar/progress-painter.ts';

const ESC = '\u001b';
const viewAt = (batch: number): ProgressView => ({
  stage: 'train',
  epoch: 0,
  batch,
  elapsedMs: 0,
  globalStep: batch,
  metrics: {},
  saving: false,
});
const lineAt = (batch: number) => `Epoch 0  ${batch} batches  step ${batch}`;
const paintedAt = (batch: number) => `\r${ESC}[K${ESC}[?7l${lineAt(batch)}${ESC}[?7h`;

let now: number;
let written: string[];

beforeEach(() => {
  now = 0;
  written = [];
});

const painterOn = (
  stream: Partial<ProgressStream>,
  env: Record<string, string> = {},
): ProgressPainter =>
  new ProgressPainter(
    { write: (text) => written.push(text), ...stream },
    { clock: () => now, env },
  );

describe('ProgressPainter on a terminal', () => {
  it('writes one line over and over, at most every 100 ms', () => {
    const painter = painterOn({ isTTY: true });
    for (now = 0; now < 300; now += 20) painter.update(viewAt(now));
    expect(written).toEqual([0, 100, 200].map(paintedAt));
  });

  it('says whether a view would be shown', () => {
    const painter = painterOn({ isTTY: true });
    expect(painter.isDue).toBe(true);
    painter.update(viewAt(1));
    expect(painter.isDue).toBe(false);
    now = 100;
    expect(painter.isDue).toBe(true);
  });

  it("paints an epoch's end at once", () => {
    const painter = painterOn({ isTTY: true });
    painter.update(viewAt(1));
    painter.endEpoch(viewAt(2));
    expect(written).toEqual([paintedAt(1), paintedAt(2)]);
  });

  it('does not paint again what stands there', () => {
    const painter = painterOn({ isTTY: true });
    painter.update(viewAt(1));
    painter.endEpoch(viewAt(1));
    expect(written).toHaveLength(1);
  });

  it('takes the line away for other output, and paints it again at once', () => {
    const painter = painterOn({ isTTY: true });
    painter.clear();
    painter.update(viewAt(1));
    painter.clear();
    painter.clear();
    painter.update(viewAt(1));
    expect(written).toEqual([paintedAt(1), `\r${ESC}[K`, paintedAt(1)]);
  });

  it('leaves the last line standing when training ends', () => {
    const painter = painterOn({ isTTY: true });
    painter.update(viewAt(1));
    painter.end(viewAt(2));
    painter.end();
    expect(written).toEqual([paintedAt(1), paintedAt(2), '\n']);
  });

  it('heeds the width, read at each painting', () => {
    const stream = { isTTY: true, columns: 7, write: (text: string) => written.push(text) };
    const painter = new ProgressPainter(stream, { clock: () => now, env: {} });
    painter.update(viewAt(1));
    stream.columns = 20;
    painter.endEpoch(viewAt(2));
    expect(written[0]).toContain(`Epoch 0${ESC}`);
    expect(written[1]).toContain(`Epoch 0  2 batches${ESC}`);
  });

  it.each([
    [{}, true],
    [{ NO_COLOR: '' }, true],
    [{ NO_COLOR: '1' }, false],
  ])('with the environment %j has colours: %s', (env, hasColor) => {
    painterOn({ isTTY: true }, env).update({ ...viewAt(1), saving: true });
    expect(written.join('').includes(`${ESC}[33m`)).toBe(hasColor);
  });
});

describe.each([
  ['a file', {}, {}],
  ['a dumb terminal', { isTTY: true }, { TERM: 'dumb' }],
])('ProgressPainter on %s', (_name, stream, env) => {
  it('writes plain lines, at most every 10 s', () => {
    const painter = painterOn(stream, env);
    for (now = 0; now <= 25_000; now += 500) painter.update({ ...viewAt(now), saving: true });
    expect(written).toEqual([10_000, 20_000].map((at) => `${lineAt(at)}  saving\n`));
  });

  it("writes a line at every epoch's end", () => {
    const painter = painterOn(stream, env);
    painter.endEpoch({ ...viewAt(1), saving: true });
    painter.endEpoch(viewAt(2));
    painter.end(viewAt(2));
    expect(written).toEqual([`${lineAt(1)}\n`, `${lineAt(2)}\n`]);
  });

  it('has nothing to take away', () => {
    const painter = painterOn(stream, env);
    painter.endEpoch(viewAt(1));
    painter.clear();
    expect(written).toHaveLength(1);
  });
});

it('shows progress on a real stream with the real clock and environment', () => {
  const painter = new ProgressPainter({ write: (text) => written.push(text) });
  painter.endEpoch(viewAt(3));
  expect(written).toEqual([`${lineAt(3)}\n`]);
});
