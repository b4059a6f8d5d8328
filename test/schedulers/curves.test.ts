import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  cosineAnnealingLR,
  exponentialLR,
  type LRScheduler,
  lambdaLR,
  MisconfigurationError,
  multiStepLR,
  oneCycleLR,
  stepLR,
} from '../../src/index.ts';

/** The rate at the start and after each of `steps` steps. */
function rates(scheduler: LRScheduler, baseRate: number, steps: number): number[] {
  const found = [scheduler.start?.(baseRate) ?? Number.NaN];
  for (let i = 0; i < steps; i++) found.push(Number(scheduler.step()));
  return found;
}

const near = (expected: readonly number[]) => expected.map((value) => expect.closeTo(value, 10));

describe('the rate follows its curve', () => {
  it.each<[string, LRScheduler, number, readonly number[]]>([
    ['step', stepLR({ stepSize: 2, gamma: 0.5 }), 0.8, [0.8, 0.8, 0.4, 0.4, 0.2]],
    ['step, gamma 0.1 when not given', stepLR({ stepSize: 1 }), 1, [1, 0.1, 0.01]],
    ['multi-step', multiStepLR({ milestones: [1, 3], gamma: 0.1 }), 1, [1, 0.1, 0.1, 0.01, 0.01]],
    [
      'multi-step, a milestone twice',
      multiStepLR({ milestones: [2, 2], gamma: 0.5 }),
      1,
      [1, 1, 0.25],
    ],
    ['exponential', exponentialLR({ gamma: 0.5 }), 1, [1, 0.5, 0.25, 0.125]],
    ['cosine', cosineAnnealingLR({ tMax: 2, etaMin: 0.2 }), 1, [1, 0.6, 0.2, 0.6, 1]],
    ['any function', lambdaLR((base, step) => base / (1 + step)), 1, [1, 1 / 2, 1 / 3]],
    // Of torch.optim.lr_scheduler.OneCycleLR with max_lr=1, total_steps=10, anneal_strategy='linear'.
    [
      'one cycle, straight',
      oneCycleLR({ maxLr: 1, totalSteps: 10, annealStrategy: 'linear' }),
      7,
      [0.04, 0.52, 1, ...[1, 2, 3, 4, 5, 6, 7].map((i) => 1 + ((0.000004 - 1) * i) / 7), 0.000004],
    ],
    [
      'one cycle of three phases, straight',
      oneCycleLR({
        maxLr: 1,
        totalSteps: 10,
        pctStart: 0.4,
        annealStrategy: 'linear',
        divFactor: 10,
        finalDivFactor: 10,
        threePhase: true,
      }),
      7,
      [0.1, 0.4, 0.7, 1, 0.7, 0.4, 0.1, 0.07, 0.04, 0.01],
    ],
  ])('%s', (_, scheduler, baseRate, expected) => {
    expect(rates(scheduler, baseRate, expected.length - 1)).toEqual(near(expected));
  });

  it('rises and falls along half a cosine in a cycle, unless told otherwise', () => {
    const found = rates(oneCycleLR({ maxLr: 2, totalSteps: 20 }), 7, 30);
    expect(found[0]).toBeCloseTo(0.08, 12);
    const top = found.indexOf(Math.max(...found));
    expect(top).toBe(5);
    expect(found.slice(0, top)).toEqual([...found.slice(0, top)].sort((a, b) => a - b));
    expect(found.slice(top)).toEqual([...found.slice(top)].sort((a, b) => b - a));
    expect(found.slice(19)).toEqual(Array(12).fill(found[19]));
    expect(found[19]).toBeCloseTo(8e-6, 15);
  });
});

const kinds: Record<string, () => LRScheduler> = {
  step: () => stepLR({ stepSize: 3, gamma: 0.7 }),
  'multi-step': () => multiStepLR({ milestones: [2, 5, 11] }),
  exponential: () => exponentialLR({ gamma: 0.93 }),
  cosine: () => cosineAnnealingLR({ tMax: 17 }),
  'one cycle': () => oneCycleLR({ maxLr: 0.1, totalSteps: 40 }),
};

describe.each(Object.entries(kinds))('%s', (_, make) => {
  it('goes on with the same bits from any step it was stored at', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-6, max: 10, noNaN: true }),
        fc.nat(50),
        fc.nat(20),
        (base, before, after) => {
          const uninterrupted = make();
          rates(uninterrupted, base, before);
          const resumed = make();
          resumed.start?.(1);
          resumed.loadStateDict(JSON.parse(JSON.stringify(uninterrupted.stateDict())));
          for (let i = 0; i < after; i++) expect(resumed.step()).toBe(uninterrupted.step());
        },
      ),
    );
  });

  it('refuses the state of another kind, and an optimizer without a rate', () => {
    expect(() => make().loadStateDict({ best: 1 })).toThrow(MisconfigurationError);
    expect(() => make().start?.(undefined)).toThrow(/learning rate .* cannot be read/);
  });
});

it.each<[() => LRScheduler, RegExp]>([
  [() => stepLR({ stepSize: 0 }), /stepLR: stepSize is 0/],
  [() => stepLR({ stepSize: 1, gamma: -1 }), /gamma is -1/],
  [() => multiStepLR({ milestones: [1.5] }), /milestones is \[1\.5\]/],
  [() => exponentialLR({ gamma: Number.NaN }), /gamma/],
  [() => cosineAnnealingLR({ tMax: 1.5 }), /tMax is 1\.5/],
  [() => cosineAnnealingLR({ tMax: 1, etaMin: -1 }), /etaMin is -1/],
  [() => oneCycleLR({ maxLr: 0, totalSteps: 1 }), /maxLr is 0/],
  [() => oneCycleLR({ maxLr: 1, totalSteps: 1, pctStart: 1 }), /pctStart is 1/],
  [() => oneCycleLR({ maxLr: 1, totalSteps: 1, annealStrategy: 'x' as never }), /annealStrategy/],
  [() => lambdaLR(1 as never), /curve is 1/],
])('refuses a bad option: %s', (make, message) => {
  expect(make).toThrow(MisconfigurationError);
  expect(make).toThrow(message);
});
