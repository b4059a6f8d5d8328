import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import {
  CSVLogger,
  MisconfigurationError,
  ModelCheckpoint,
  type ModelCheckpointOptions,
  Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import type { DataSource } from '../../src/trainer/data-source.ts';
import { type CheckpointEntry, listCheckpoints, readCheckpoint } from './checkpoint-files.ts';
import {
  type Allowance,
  completed,
  differences,
  type SeenEvent,
  traceCallback,
} from './recording.ts';
import { ScriptedError, ScriptedModule } from './scripted-module.ts';
import {
  type Expected,
  type FitRow,
  fromNumber,
  type Phase,
  type TraceCkptPath,
  type TraceEvent,
  type TraceException,
  type TraceHook,
  type TraceNumber,
  type TraceOptions,
  type TraceTrainer,
} from './trace.ts';

/** Which write a file should hold. */
interface Writing {
  readonly globalStep: number;
  readonly weight: number;
}

/** What one phase did. */
interface SeenPhase {
  readonly events: readonly SeenEvent[];
  readonly thrown: { readonly where: TraceException['where']; readonly error: unknown } | undefined;
  readonly ckptPath: string | undefined;
}

/** A scenario on its way through its phases, in one folder. */
interface Scenario {
  readonly root: string;
  /** Of each phase, by now without their Trainer. */
  readonly callbacks: (readonly ModelCheckpoint[])[];
  /** By path relative to the root: what was last seen to be written there. */
  readonly writings: Map<string, Writing & { readonly identity: string }>;
  readonly metricNames: Set<string>;
}

/** Replays a scenario through the real Trainer, callbacks and files; one line for each difference. */
export async function replayFit(row: FitRow): Promise<readonly string[]> {
  const root = await mkdtemp(join(tmpdir(), 'highwater-parity-'));
  try {
    const scenario: Scenario = { root, callbacks: [], writings: new Map(), metricNames: new Set() };
    for (const [index, expected] of row.expected.entries()) {
      const found = await replayPhase(row.phases[index]!, expected, scenario);
      // What follows from a difference says little.
      if (found.length > 0) return found.map((difference) => `phase ${index}: ${difference}`);
    }
    return [];
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** Replays many scenarios, some at a time: they wait for the disk more than they compute. */
export async function replayFits(
  rows: readonly FitRow[],
  concurrency = 8,
): Promise<readonly { readonly row: FitRow; readonly found: readonly string[] }[]> {
  const results: { row: FitRow; found: readonly string[] }[] = [];
  const waiting = rows.entries();
  const work = async () => {
    for (const [index, row] of waiting) results[index] = { row, found: await replayFit(row) };
  };
  await Promise.all(Array.from({ length: concurrency }, work));
  return results;
}

async function replayPhase(
  phase: Phase,
  expected: Expected,
  scenario: Scenario,
): Promise<readonly string[]> {
  const seen = await runPhase(phase, scenario);
  const found = [...differentException(expected.exception, seen.thrown)];
  const wantedPath = expected.ckpt_path ?? undefined;
  if (seen.ckptPath !== wantedPath) {
    found.push(`ckptPath is ${seen.ckptPath}, expected ${wantedPath}`);
  }
  const allowance: Allowance = {
    isResumed: seen.ckptPath !== undefined,
    restored: new Set(scenario.metricNames),
  };
  const events = completed(expected.events);
  for (const [index, event] of events.entries()) {
    const got = seen.events[index];
    if (got === undefined) found.push(`${event.e} (step ${event.global_step}): did not happen`);
    else found.push(...differences(event, got, allowance));
  }
  for (const { e, global_step } of seen.events.slice(events.length)) {
    found.push(`${e} (step ${global_step}): was not expected`);
  }
  for (const { metrics } of seen.events) {
    for (const name of Object.keys(metrics ?? {})) scenario.metricNames.add(name);
  }
  return [...found, ...(await differentContents(phase, expected, scenario))];
}

const HOOKS = {
  sanityValidationEnd: 'sanity_validation_end',
  trainStart: 'train_start',
  trainBatchEnd: 'train_batch_end',
  validationEnd: 'validation_end',
  trainEpochEnd: 'train_epoch_end',
  trainEnd: 'train_end',
} as const;

async function runPhase(phase: Phase, scenario: Scenario): Promise<SeenPhase> {
  const { root } = scenario;
  const module = new ScriptedModule(phase);
  const events: SeenEvent[] = [];
  let callbacks: readonly ModelCheckpoint[] = [];
  let ckptPath: string | undefined;
  let where: TraceException['where'] = 'init';
  let thrown: SeenPhase['thrown'];
  let trainer: Trainer | undefined;
  const record = async (e: TraceHook, batchIdx: number | undefined): Promise<void> => {
    if (trainer === undefined) return;
    await trainer.flush();
    const entries = await listCheckpoints(root);
    const globalStep = trainer.globalStep;
    noteWritings(scenario, entries, { globalStep, weight: module.weight('weight')[0]! });
    events.push({
      e,
      epoch: trainer.currentEpoch,
      global_step: globalStep,
      ...(batchIdx === undefined ? {} : { batch_idx: batchIdx }),
      metrics: traceMetrics(trainer.callbackMetrics),
      files: entries.map(({ listed }) => listed),
      callbacks: callbacks.map((callback) => traceCallback(root, callback)),
    });
  };
  try {
    callbacks = phase.callbacks.map(
      (options) => new ModelCheckpoint(checkpointOptions(options, root)),
    );
    where = 'trainer';
    trainer = new Trainer({
      ...trainerOptions(phase.trainer, root),
      callbacks,
      onHookCompleted: (hook, { batchIdx }) => record(HOOKS[hook], batchIdx),
    });
    callbacks = trainer.checkpointCallbacks as readonly ModelCheckpoint[];
    where = 'fit';
    ckptPath = resolveCkptPath(phase.ckpt_path, scenario) || undefined;
    await trainer.fit(module, {
      trainDataloaders: batches(phase.trainer.limit_train_batches),
      valDataloaders: batches(phase.trainer.limit_val_batches),
      ...(ckptPath === undefined ? {} : { ckptPath }),
    });
  } catch (error) {
    thrown = { where, error };
  }
  if (where === 'fit') await record('fit_end', undefined);
  scenario.callbacks.push(callbacks);
  const isPath = phase.ckpt_path?.kind !== 'string';
  return { events, thrown, ckptPath: ckptPath && isPath ? relative(root, ckptPath) : ckptPath };
}

/** ModelCheckpoint's options in our spelling, with `dirpath` below the root. */
export function checkpointOptions(options: TraceOptions, root?: string): ModelCheckpointOptions {
  const spelt: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(options)) {
    if (name === 'train_time_interval_seconds') {
      spelt.trainTimeInterval = value === null ? null : Number(value) * 1000;
    } else if (name === 'dirpath' && root !== undefined && typeof value === 'string') {
      spelt.dirpath = join(root, value);
    } else {
      spelt[camelCase(name)] = value;
    }
  }
  return spelt as ModelCheckpointOptions;
}

export function camelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

function trainerOptions(trainer: TraceTrainer, root: string): TrainerOptions {
  const { unit, value } = trainer.val_check_interval;
  const { logger, limit_train_batches, limit_val_batches } = trainer;
  return {
    defaultRootDir: root,
    maxEpochs: trainer.max_epochs,
    maxSteps: trainer.max_steps,
    checkValEveryNEpoch: trainer.check_val_every_n_epoch,
    // Both spellings of a number of batches, where there are two.
    valCheckInterval: unit === 'batches' && value === 1 ? { batches: value } : value,
    accumulateGradBatches: trainer.accumulate_grad_batches,
    numSanityValSteps: trainer.num_sanity_val_steps,
    fastDevRun: trainer.fast_dev_run,
    // 1 would be the fraction: there the loader itself has one batch.
    ...(limit_train_batches === 1 ? {} : { limitTrainBatches: limit_train_batches }),
    ...(limit_val_batches === 1 ? {} : { limitValBatches: limit_val_batches }),
    logger: logger !== null && csvLogger(logger, root),
    enableProgressBar: false,
    console: { info: () => {}, warn: () => {} },
  };
}

function csvLogger(
  { save_dir, ...rest }: NonNullable<TraceTrainer['logger']>,
  root: string,
): CSVLogger {
  return new CSVLogger({ ...rest, saveDir: join(root, save_dir) });
}

/** A loader with that many batches; with more than one some more, which the limit cuts off. */
function batches(limit: number): DataSource<number> {
  const length = limit === 1 ? 1 : limit + 2;
  return {
    length,
    *[Symbol.iterator]() {
      for (let index = 0; index < length; index++) yield index;
    },
  };
}

function resolveCkptPath(path: TraceCkptPath | null, { callbacks }: Scenario): string {
  if (path === null) return '';
  if (path.kind === 'string') return path.value;
  const callback = callbacks[path.phase]?.[path.callback];
  if (callback === undefined) throw new RangeError('The trace names a callback that is not there.');
  if (path.kind === 'last_or_best') return callback.lastModelPath || callback.bestModelPath;
  return String(callback[camelCase(path.attr) as keyof ModelCheckpoint]);
}

function traceMetrics(metrics: Readonly<Record<string, number>>): Record<string, TraceNumber> {
  return Object.fromEntries(
    Object.entries(metrics).map(([name, value]) => [name, fromNumber(value)]),
  );
}

function* differentException(
  expected: TraceException | null,
  thrown: SeenPhase['thrown'],
): Iterable<string> {
  if (expected === null) {
    if (thrown !== undefined) yield `${thrown.where} threw: ${causesOf(thrown.error).join(' <- ')}`;
    return;
  }
  const wanted = `${expected.cls} '${expected.message}' from ${expected.where}`;
  if (thrown === undefined) yield `nothing was thrown, expected ${wanted}`;
  else if (thrown.where !== expected.where || !isOfKind(thrown.error, expected)) {
    yield `${thrown.where} threw: ${causesOf(thrown.error).join(' <- ')}; expected ${wanted}`;
  }
}

/** An error and its causes, outermost first. */
function causesOf(error: unknown): readonly Error[] {
  if (!(error instanceof Error)) return [new Error(`not an Error: ${String(error)}`)];
  return error.cause === undefined ? [error] : [error, ...causesOf(error.cause)];
}

function isOfKind(error: unknown, { cls, message }: TraceException): boolean {
  const causes = causesOf(error);
  if (cls === 'MisconfigurationException') {
    return causes.some((cause) => cause instanceof MisconfigurationError);
  }
  if (message.startsWith('scripted')) {
    return causes.some((cause) => cause instanceof ScriptedError && cause.message === message);
  }
  return !causes.some((cause) => cause instanceof ScriptedError);
}

/** Notes for each name that was written since the last look what was written there. */
function noteWritings(
  { writings }: Scenario,
  entries: readonly CheckpointEntry[],
  writing: Writing,
): void {
  const paths = new Set(entries.map(({ path }) => path));
  for (const path of writings.keys()) if (!paths.has(path)) writings.delete(path);
  for (const { path, identity } of entries) {
    if (writings.get(path)?.identity !== identity) writings.set(path, { ...writing, identity });
  }
}

/** Opens every file and compares it with the event that last wrote it. */
async function differentContents(
  phase: Phase,
  expected: Expected,
  { root, writings }: Scenario,
): Promise<readonly string[]> {
  const steps = expectedSteps(phase, expected);
  const entries = await listCheckpoints(root);
  const found = await Promise.all(
    entries.map(async ({ path, isBroken }) => {
      if (isBroken) return [];
      const written = writings.get(path);
      const wanted = { globalStep: written?.globalStep, weight: written?.weight };
      const step = steps.get(path);
      try {
        const content = await readCheckpoint(join(root, path));
        const problems: string[] = [];
        if (JSON.stringify(content) !== JSON.stringify(wanted)) {
          problems.push(`${path} holds ${JSON.stringify(content)}, not ${JSON.stringify(wanted)}`);
        }
        if (step !== undefined && content.globalStep !== step) {
          problems.push(`${path} holds step ${content.globalStep}, expected ${step}`);
        }
        return problems;
      } catch (error) {
        return [`${path} cannot be read: ${String(error)}`];
      }
    }),
  );
  return found.flat();
}

/**
 * The step that the trace says each file holds, where it does: a ranked file that of its save, the last
 * file at the end of training that of the end. Where files may be overwritten it does not say.
 */
function expectedSteps(phase: Phase, { events }: Expected): ReadonlyMap<string, number> {
  const steps = new Map<string, number>();
  if (phase.callbacks.some((options) => options.enable_version_counter === false)) return steps;
  // What the first event lists was restored; when it was written is not said either.
  let previous: TraceEvent | undefined;
  for (const event of completed(events)) {
    event.callbacks?.forEach((callback, index) => {
      const before = previous?.callbacks?.[index]?.best_k_models ?? callback.best_k_models;
      for (const [path, score] of callback.best_k_models) {
        const isOld = before.some(([kept, keptScore]) => kept === path && keptScore === score);
        if (!isOld) steps.set(path, event.global_step);
      }
      if (event.e === 'train_end' && callback.last_model_path !== '') {
        steps.set(callback.last_model_path, event.global_step);
      }
    });
    previous = event;
  }
  return steps;
}
