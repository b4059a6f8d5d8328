import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Decision, decide } from '../../src/checkpoint/decide.ts';
import type { CheckpointEvent, CheckpointHook } from '../../src/checkpoint/event.ts';
import type { Naming } from '../../src/checkpoint/file-path.ts';
import { isInside } from '../../src/checkpoint/folder.ts';
import type { MetricReading } from '../../src/checkpoint/monitor.ts';
import { type ResolvedOptions, resolveOptions } from '../../src/checkpoint/options.ts';
import {
  type CheckpointState,
  initialState,
  keptPaths,
  stateFromJson,
  stateToJson,
} from '../../src/checkpoint/state.ts';
import { trigger } from '../../src/checkpoint/triggers.ts';

const FOLDER = '/run/checkpoints';

// Random runs -------------------------------------------------------------------------------------------

/** Few values, so that ties are common; undefined: not logged this time. */
const metric = fc.option(
  fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: -3, max: 3 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
    },
  ),
  { nil: undefined, freq: 6 },
);

const run = fc.record({
  epochs: fc.integer({ min: 1, max: 4 }),
  batches: fc.integer({ min: 1, max: 4 }),
  accumulate: fc.integer({ min: 1, max: 3 }),
  /** Validation every n batches; 0: none. */
  validateEvery: fc.integer({ min: 0, max: 5 }),
  train: fc.array(metric, { minLength: 1, maxLength: 16 }),
  val: fc.array(metric, { minLength: 1, maxLength: 16 }),
  epochMetric: fc.array(metric, { minLength: 1, maxLength: 4 }),
  elapsedMs: fc.array(fc.nat(20), { minLength: 1, maxLength: 8 }),
  requestAt: fc.option(fc.nat(20)),
  endsIn: fc.constantFrom<'trainEnd' | 'exception'>('trainEnd', 'exception'),
});
type Run = typeof run extends fc.Arbitrary<infer T> ? T : never;

/** The events of a run, as the Trainer would send them. */
function eventsOf(run: Run): readonly CheckpointEvent[] {
  const events: CheckpointEvent[] = [];
  const logged = new Map<string, { value: number; step: number }>();
  let globalStep = 0;
  let batch = 0;
  let validations = 0;
  const log = (name: string, values: readonly (number | undefined)[], n: number, step: number) => {
    const value = values[n % values.length];
    if (value !== undefined) logged.set(name, { value, step });
  };
  const send = (hook: CheckpointHook, epoch: number, tookStep = false) => {
    const metrics = new Map<string, MetricReading>();
    for (const [name, { value, step }] of logged) {
      metrics.set(name, { value, isFresh: step === globalStep });
    }
    const elapsedMs = run.elapsedMs[events.length % run.elapsedMs.length]!;
    const hasValidated = validations > 0 || run.validateEvery === 0;
    events.push({ hook, epoch, globalStep, tookStep, metrics, elapsedMs, hasValidated });
    if (run.requestAt === events.length && hook !== run.endsIn) send('request', epoch);
  };
  for (let epoch = 0; epoch < run.epochs; epoch++) {
    for (let i = 1; i <= run.batches; i++) {
      const tookStep = i % run.accumulate === 0 || i === run.batches;
      // What a batch logs belongs to the step that its accumulation window ends in.
      log('train', run.train, batch, globalStep + 1);
      if (tookStep) globalStep += 1;
      send('trainBatchEnd', epoch, tookStep);
      batch += 1;
      if (run.validateEvery > 0 && batch % run.validateEvery === 0) {
        log('val', run.val, validations, globalStep);
        validations += 1;
        send('validationEnd', epoch);
      }
    }
    log('epoch_metric', run.epochMetric, epoch, globalStep);
    send('trainEpochEnd', epoch);
  }
  send(run.endsIn, run.endsIn === 'trainEnd' ? run.epochs : run.epochs - 1);
  return events;
}

const triggerOptions = fc.oneof(
  fc.constant({}),
  fc.record({ everyNTrainSteps: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ everyNEpochs: fc.integer({ min: 0, max: 3 }) }),
  fc.record({ trainTimeInterval: fc.nat(30) }),
);

const callback = (enableVersionCounter: fc.Arbitrary<boolean>): fc.Arbitrary<ResolvedOptions> =>
  fc
    .record({
      trigger: triggerOptions,
      monitor: fc.constantFrom(undefined, 'train', 'val', 'epoch_metric', 'step', 'absent'),
      mode: fc.constantFrom('min' as const, 'max' as const),
      saveTopK: fc.integer({ min: -1, max: 3 }),
      saveLast: fc.constantFrom(false, true, 'link' as const),
      filename: fc.constantFrom(
        undefined,
        'best',
        'last',
        '{epoch}',
        '{train}',
        'sub/{val:.1f}-{epoch}',
      ),
      saveOnTrainEpochEnd: fc.boolean(),
      saveOnException: fc.boolean(),
      enableVersionCounter,
    })
    .map(({ trigger, monitor, saveTopK, filename, ...rest }) =>
      resolveOptions({
        ...rest,
        ...trigger,
        ...(monitor === undefined ? {} : { monitor }),
        ...(filename === undefined ? {} : { filename }),
        saveTopK: monitor === undefined ? Math.min(saveTopK, 1) : saveTopK,
      }),
    );

/** One to three callbacks that share a folder. */
const callbacks = (enableVersionCounter: fc.Arbitrary<boolean>) =>
  fc.array(callback(enableVersionCounter), { minLength: 1, maxLength: 3 });

/** What was decided in a round. A run counts the ages of its files itself: they order them, and mean no more. */
function decided({ decisions }: Round): unknown {
  return decisions.map(({ saves, ...decision }) => ({
    ...decision,
    saves: saves.map(({ displaces, ...save }) => ({
      ...save,
      displaces: displaces.map(({ path, score }) => ({ path, score })),
    })),
  }));
}

// Carrying decisions out, in memory ------------------------------------------------------------------------

function namingOf({ autoInsertMetricName, enableVersionCounter }: ResolvedOptions): Naming {
  return {
    dirpath: FOLDER,
    joinChar: '-',
    equalsChar: '=',
    lastName: 'last',
    extension: '.ckpt',
    startingVersion: 1,
    autoInsertMetricName,
    enableVersionCounter,
  };
}

/** Who wrote a file last, as what, and when. */
interface Written {
  readonly by: number;
  readonly role: string;
  readonly globalStep: number;
}

/** What one hook did, all callbacks together. */
interface Round {
  readonly event: CheckpointEvent;
  readonly before: readonly CheckpointState[];
  readonly decisions: readonly Decision[];
  readonly removed: readonly string[];
  /** After the hook. */
  readonly files: ReadonlyMap<string, Written>;
}

/** Feeds the core with a run. `reload`: what happens to a state between two hooks. */
function play(
  options: readonly ResolvedOptions[],
  events: readonly CheckpointEvent[],
  reload: (state: CheckpointState) => CheckpointState = (state) => state,
): readonly Round[] {
  const files = new Map<string, Written>();
  const states = options.map(({ mode }) => initialState(mode, FOLDER));
  const isKeptByOthers = (path: string, index: number) =>
    states.some((state, other) => other !== index && keptPaths(state).has(path));
  return events.map((event) => {
    const before = states.map(reload);
    const planned = new Map<string, boolean>();
    const decisions = options.map((own, index) => {
      const decision = decide(before[index]!, event, own, namingOf(own), {
        isTaken: (path) => planned.get(path) ?? files.has(path),
      });
      states[index] = decision.state;
      for (const { path } of decision.saves) planned.set(path, true);
      for (const { path } of decision.removals) {
        if (!isKeptByOthers(path, index)) planned.set(path, false);
      }
      return decision;
    });
    for (const [by, { saves }] of decisions.entries()) {
      for (const { path, role } of saves) {
        files.set(path, { by, role, globalStep: event.globalStep });
      }
    }
    const removed = decisions.flatMap(({ removals }, index) =>
      removals.map(({ path }) => path).filter((path) => !isKeptByOthers(path, index)),
    );
    for (const path of removed) files.delete(path);
    return { event, before, decisions, removed, files: new Map(files) };
  });
}

/**
 * What a callback with a monitor was offered up to each round: a fresh value, when a save is due or waits for
 * one, unless this step is saved already.
 */
function offeredScores(
  rounds: readonly Round[],
  options: ResolvedOptions,
  index: number,
): readonly (readonly number[])[] {
  const { monitor = '', mode } = options;
  const offered: number[] = [];
  let isWaiting = false;
  return rounds.map(({ event, before }) => {
    const { timerMs, topKSavedAtStep } = before[index]!;
    const isOver = event.globalStep === 0 || event.hook === 'exception';
    if (isOver || topKSavedAtStep === event.globalStep) return [...offered];
    isWaiting ||= trigger(options, event, timerMs).isDue;
    const value = monitor === 'step' ? event.globalStep : freshValue(event, monitor);
    if (isWaiting && value !== undefined) {
      isWaiting = false;
      const worst = mode === 'min' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
      offered.push(Number.isNaN(value) ? worst : value);
    }
    return [...offered];
  });
}

function freshValue(event: CheckpointEvent, name: string): number | undefined {
  const reading = event.metrics.get(name);
  return reading?.isFresh === true ? reading.value : undefined;
}

/** Checks every round of random runs. */
function check(
  enableVersionCounter: fc.Arbitrary<boolean>,
  holds: (rounds: readonly Round[], options: readonly ResolvedOptions[]) => void,
): void {
  fc.assert(
    fc.property(callbacks(enableVersionCounter), run, (options, run) => {
      holds(play(options, eventsOf(run)), options);
    }),
    { numRuns: 300 },
  );
}

const withCounter = fc.constant(true);
const either = fc.boolean();

describe('the rules, for any options and any run', () => {
  it('never keep more than k files of a callback', () => {
    check(withCounter, (rounds, options) => {
      for (const { decisions, files } of rounds) {
        for (const [index, { state }] of decisions.entries()) {
          const { saveTopK } = options[index]!;
          if (saveTopK === -1) continue;
          expect(state.bestKModels.size).toBeLessThanOrEqual(saveTopK);
          const written = [...files.values()].filter(
            ({ by, role }) => by === index && role === 'topK',
          );
          expect(written.length).toBeLessThanOrEqual(saveTopK);
        }
      }
    });
  });

  it('never count more than k files as kept when names are overwritten', () => {
    check(fc.boolean(), (rounds, options) => {
      for (const { decisions } of rounds) {
        for (const [index, { state }] of decisions.entries()) {
          const { saveTopK } = options[index]!;
          if (saveTopK !== -1) expect(state.bestKModels.size).toBeLessThanOrEqual(saveTopK);
        }
      }
    });
  });

  it('keep the best k of all scores that were ever offered', () => {
    check(withCounter, (rounds, options) => {
      for (const [index, own] of options.entries()) {
        if (own.monitor === undefined || own.saveTopK === 0) continue;
        const offered = offeredScores(rounds, own, index);
        for (const [round, { decisions }] of rounds.entries()) {
          const { state } = decisions[index]!;
          const best = offered[round]!.toSorted((a, b) => (own.mode === 'min' ? a - b : b - a));
          if (own.saveTopK > 0) best.splice(own.saveTopK);
          expect(state.bestKModels.get(state.bestModelPath)).toBe(best[0]);
          expect(state.bestModelScore).toBe(best[0]);
          expect([...state.bestKModels].map(([, score]) => score).sort()).toEqual(best.sort());
        }
      }
    });
  });

  it('keep every file that a callback counts as its own', () => {
    check(either, (rounds) => {
      for (const { decisions, files } of rounds) {
        for (const { state } of decisions) {
          for (const path of keptPaths(state)) expect(files.has(path)).toBe(true);
        }
      }
    });
  });

  it('never touch the file of another callback while the version counter is on', () => {
    check(withCounter, (rounds) => {
      let files: ReadonlyMap<string, Written> = new Map();
      for (const round of rounds) {
        const given = new Set<string>();
        const paths = round.decisions.flatMap(({ saves }) => saves.map(({ path }) => path));
        expect(new Set(paths).size).toBe(paths.length);
        for (const [index, { saves, removals, state }] of round.decisions.entries()) {
          for (const { path, replaces } of saves) {
            const there = files.get(path);
            if (replaces) expect(there?.by).toBe(index);
            // A name that an earlier callback gives up in this very hook is free.
            else if (there !== undefined) expect(given).toContain(path);
          }
          for (const { path } of removals) given.add(path);
          for (const { path } of removals) expect(files.get(path)?.by).toBe(index);
          for (const [path] of state.bestKModels) {
            expect(round.files.get(path)).toMatchObject({ by: index, role: 'topK' });
          }
        }
        files = round.files;
      }
    });
  });

  it('remove a file only when its successor is saved, and never the successor', () => {
    check(either, (rounds) => {
      for (const { decisions } of rounds) {
        for (const { saves, removals } of decisions) {
          if (removals.length > 0) expect(saves.length).toBeGreaterThan(0);
          for (const { path } of removals) {
            expect(saves.map((save) => save.path)).not.toContain(path);
          }
        }
      }
    });
  });

  it('remove nothing that another callback keeps', () => {
    check(either, (rounds) => {
      for (const { decisions, removed } of rounds) {
        const kept = decisions.flatMap(({ state }) => [...keptPaths(state)]);
        for (const path of removed) expect(kept).not.toContain(path);
      }
    });
  });

  it('save at most one top-k and one last file of a callback for each step', () => {
    check(either, (rounds, options) => {
      for (const index of options.keys()) {
        const steps = { topK: new Set<number>(), last: new Set<number>(), exception: new Set() };
        for (const { event, decisions } of rounds) {
          for (const { role, path } of decisions[index]!.saves) {
            expect(event.globalStep).toBeGreaterThan(0);
            expect(isInside(FOLDER, path)).toBe(true);
            expect(steps[role].has(event.globalStep)).toBe(false);
            steps[role].add(event.globalStep);
          }
        }
      }
    });
  });

  it('leave a last file of the final step when training ends', () => {
    check(either, (rounds, options) => {
      const { event, decisions } = rounds.at(-1)!;
      if (event.hook !== 'trainEnd') return;
      for (const [index, { state }] of decisions.entries()) {
        const wanted = options[index]!.saveLast === false ? 0 : event.globalStep;
        expect(state.lastSavedAtStep).toBe(wanted);
      }
    });
  });

  it('decide the same for the same events, also when the state was stored in between', () => {
    fc.assert(
      fc.property(callbacks(either), run, (options, run) => {
        const events = eventsOf(run);
        const once = play(options, events);
        const again = play(options, events, (state) => stateFromJson(stateToJson(state)));
        expect(again.map(decided)).toEqual(once.map(decided));
      }),
      { numRuns: 300 },
    );
  });
});
