import { MisconfigurationError } from '../errors.ts';
import type { CheckpointEvent } from './event.ts';
import { type Naming, nameFile } from './file-path.ts';
import { isInside } from './folder.ts';
import { type Candidate, candidatesAt, scoreOf } from './monitor.ts';
import type { ResolvedOptions } from './options.ts';
import { isKept, surplusOf } from './retention.ts';
import { type CheckpointState, ranking } from './state.ts';
import { trigger } from './triggers.ts';

/** Why a file is written. */
export type SaveRole = 'topK' | 'last' | 'exception';

/** One name that the snapshot of this hook gets. */
export interface PlannedSave {
  readonly role: SaveRole;
  readonly path: string;
  /** What has this name already is this callback's own (or is to be overwritten): replace it. */
  readonly replaces: boolean;
  /** A symbolic link to this path instead of a file. */
  readonly linkTo?: string;
  readonly score?: number;
  /** What the callback kept in its place until now, and goes on keeping when the save fails. */
  readonly displaces: readonly KeptFile[];
}

/** A file that a callback counts as its own; without score and age when it is not ranked. */
export interface KeptFile {
  readonly path: string;
  readonly score?: number | undefined;
  /** Its place among the kept: see {@link KeptModels.ageOf}. */
  readonly age?: number | undefined;
}

/** One file that goes, after everything of this hook is durable. */
export interface PlannedRemoval {
  readonly path: string;
  readonly reason: string;
}

/** What was decided, for the log and the journal. */
export type Note =
  | {
      readonly kind: 'saved';
      readonly role: SaveRole;
      readonly path: string;
      readonly score?: number;
    }
  | { readonly kind: 'rejected'; readonly score: number; readonly worstKept: number }
  | { readonly kind: 'removed'; readonly path: string; readonly reason: string }
  | { readonly kind: 'waiting'; readonly monitor: string; readonly available: readonly string[] };

/** The outcome of one event for one callback. Nothing has happened yet: the saver carries it out. */
export interface Decision {
  readonly state: CheckpointState;
  readonly saves: readonly PlannedSave[];
  readonly removals: readonly PlannedRemoval[];
  readonly notes: readonly Note[];
  /** For people, once each. */
  readonly warnings: readonly string[];
  /** To be thrown after the saves of this hook. */
  readonly error?: MisconfigurationError;
}

/** What the rules may ask of the world; saves and removals that are planned count as done. */
export interface Surroundings {
  /** Whether a file has this name. */
  isTaken(path: string): boolean;
  /** The first version of a taken path that may be free, where the paths in `own` count as free. */
  firstVersion?(path: string, own: Iterable<string>): number;
}

/**
 * One event of training → what to save, what to remove, what to remember. Pure: the same state, event,
 * options and surroundings give the same decision. The top-k save and the last save are independent of
 * each other.
 */
export function decide(
  state: CheckpointState,
  event: CheckpointEvent,
  options: ResolvedOptions,
  naming: Naming,
  around: Surroundings,
): Decision {
  const { isDue, timerMs } = trigger(options, event, state.timerMs);
  const step: Step = {
    event,
    options,
    naming,
    around,
    candidates: candidatesAt(event),
    state: { ...state, timerMs },
    saves: [],
    removals: [],
    notes: [],
    warnings: [],
  };
  if (event.globalStep > 0) {
    if (event.hook === 'exception' || event.hook === 'interrupt') saveForResume(step);
    else {
      const isHandled = saveTopK(step, isDue);
      if (isDue || isHandled || event.hook === 'trainEnd') saveLast(step);
    }
  }
  const error = missingMonitor(step);
  return {
    state: step.state,
    saves: step.saves,
    removals: step.removals,
    notes: step.notes,
    warnings: step.warnings,
    ...(error === undefined ? {} : { error }),
  };
}

/**
 * Whether {@link decide} will look at the metrics of an event. When not, nobody needs to read them: most
 * steps save nothing, and a metric may have to come from a device.
 */
export function needsMetrics(
  state: CheckpointState,
  event: Omit<CheckpointEvent, 'metrics'>,
  options: ResolvedOptions,
): boolean {
  if (event.globalStep === 0) return false;
  if (event.hook === 'trainEnd' || event.hook === 'exception' || event.hook === 'interrupt')
    return true;
  return state.isTopKPending || trigger(options, event, state.timerMs).isDue;
}

/** A decision in the making. */
interface Step {
  readonly event: CheckpointEvent;
  readonly options: ResolvedOptions;
  readonly naming: Naming;
  readonly around: Surroundings;
  readonly candidates: ReadonlyMap<string, Candidate>;
  state: CheckpointState;
  readonly saves: PlannedSave[];
  readonly removals: PlannedRemoval[];
  readonly notes: Note[];
  readonly warnings: string[];
}

/** The top-k save, if it is due or waiting and its metric is fresh. Returns whether it had its turn. */
function saveTopK(step: Step, isDue: boolean): boolean {
  const { state, event, options } = step;
  if (options.saveTopK === 0 || !(isDue || state.isTopKPending)) return false;
  if (state.topKSavedAtStep === event.globalStep) return false;
  if (options.monitor === undefined) {
    keepNewest(step);
    return true;
  }
  const reading = step.candidates.get(options.monitor);
  if (reading === undefined || !reading.isFresh) {
    step.state = { ...state, isTopKPending: true };
    if (reading === undefined) {
      const available = [...step.candidates.keys()];
      step.notes.push({ kind: 'waiting', monitor: options.monitor, available });
      step.warnings.push(
        `ModelCheckpoint waits for '${options.monitor}', which no hook has logged yet. ` +
          `Logged so far: ${available.map((name) => `'${name}'`).join(', ')}.`,
      );
    }
    return false;
  }
  step.state = { ...state, isTopKPending: false };
  rank(step, scoreOf(options.mode, reading.value));
  return true;
}

function rank(step: Step, score: number): void {
  const { state, options } = step;
  const rule = { mode: options.mode, saveTopK: options.saveTopK };
  if (!isKept(rule, state.bestKModels, score)) {
    step.notes.push({ kind: 'rejected', score, worstKept: state.kthValue });
    return;
  }
  const surplus = surplusOf(rule, state.bestKModels);
  let kept = state.bestKModels;
  for (const gone of surplus) kept = kept.without(gone);
  const path = freeName(step, options.filename, new Set(surplus));
  kept = kept.with(path, score);
  step.state = {
    ...state,
    ...ranking(options, kept),
    bestKModels: kept,
    currentScore: score,
    topKSavedAtStep: step.event.globalStep,
    topKSavedPath: path,
  };
  const displaces = surplus.map((gone) => ({
    path: gone,
    score: state.bestKModels.get(gone),
    age: state.bestKModels.ageOf(gone),
  }));
  const replaces = mayReplace(step, path, surplus);
  addSave(step, { role: 'topK', path, replaces, score, displaces });
  const reason = `${options.monitor} is not among the ${options.saveTopK} best any more`;
  for (const gone of surplus) if (gone !== path) addRemoval(step, gone, reason);
}

function keepNewest(step: Step): void {
  const { state, options } = step;
  const previous = options.saveTopK === 1 ? state.bestModelPath : '';
  const path = freeName(step, options.filename, new Set([previous]));
  step.state = {
    ...state,
    bestModelPath: path,
    topKSavedAtStep: step.event.globalStep,
    topKSavedPath: path,
  };
  const replaces = mayReplace(step, path, [previous]);
  addSave(step, { role: 'topK', path, replaces, displaces: fileAt(state.bestModelPath) });
  if (previous !== '' && previous !== path) addRemoval(step, previous, 'a newer one was saved');
}

/** The last save, at most once per step. It does not care whether the score ranked. */
function saveLast(step: Step): void {
  const { state, event, options } = step;
  if (options.saveLast === false || state.lastSavedAtStep === event.globalStep) return;
  const previous = state.lastModelPath;
  const path = freeName(step, step.naming.lastName, new Set([previous]));
  step.state = { ...step.state, lastModelPath: path, lastSavedAtStep: event.globalStep };
  addSave(step, {
    role: 'last',
    path,
    replaces: mayReplace(step, path, [previous]),
    displaces: fileAt(previous),
    ...linkOf(step, path),
  });
  if (previous !== '' && previous !== path)
    addRemoval(step, previous, 'the last file has a new name');
}

function linkOf(step: Step, path: string): { linkTo?: string } {
  const { topKSavedAtStep, topKSavedPath } = step.state;
  if (step.options.saveLast !== 'link' || topKSavedAtStep !== step.event.globalStep) return {};
  return topKSavedPath === path ? {} : { linkTo: topKSavedPath };
}

/**
 * A save for a run that is about to end before its time. It is never ranked and never overwrites, and does
 * not count as this step's: the resumed run decides at the coming hooks as if it had not been made. An
 * interrupted run that keeps a last file writes just that.
 */
function saveForResume(step: Step): void {
  const { state, event, options, naming } = step;
  const isInterrupt = event.hook === 'interrupt';
  if (!isInterrupt && !options.saveOnException) return;
  if (state.topKSavedAtStep === event.globalStep && !isInterrupt) return;
  if (state.lastSavedAtStep === event.globalStep && !isInterrupt) return;
  if (!isInterrupt || options.saveLast === false) {
    const versioned: Naming = { ...naming, enableVersionCounter: true };
    const isTaken = (path: string): boolean => step.around.isTaken(path);
    const { path, warnings } = nameFile(versioned, options.filename, step.candidates, isTaken);
    step.warnings.push(...warnings);
    addSave(step, { role: 'exception', path, replaces: false, displaces: [] });
  }
  step.state = { ...state, lastSavedAtStep: 0 };
  saveLast(step);
  step.state = { ...step.state, lastSavedAtStep: state.lastSavedAtStep };
}

/** A free path for a template, where the paths in `own` are about to be replaced and so count as free. */
function freeName(step: Step, template: string | undefined, own: ReadonlySet<string>): string {
  const { around, naming } = step;
  const { path, warnings } = nameFile(
    naming,
    template,
    step.candidates,
    (taken) => !own.has(taken) && (around.isTaken(taken) || isPlanned(step, taken)),
    (taken) => around.firstVersion?.(taken, own) ?? naming.startingVersion,
  );
  step.warnings.push(...warnings);
  return path;
}

/** Only this callback's own file is replaced, unless the version counter is off. */
function mayReplace(step: Step, path: string, own: readonly string[]): boolean {
  return !step.naming.enableVersionCounter || own.includes(path);
}

function fileAt(path: string): readonly KeptFile[] {
  return path === '' ? [] : [{ path }];
}

function isPlanned(step: Step, path: string): boolean {
  return step.saves.some((save) => save.path === path);
}

function addSave(step: Step, save: PlannedSave): void {
  step.saves.push(save);
  const { role, path, score } = save;
  step.notes.push({ kind: 'saved', role, path, ...(score === undefined ? {} : { score }) });
}

/** Never outside the folder, whatever a restored state claims. */
function addRemoval(step: Step, path: string, reason: string): void {
  if (!isInside(step.naming.dirpath, path)) return;
  step.removals.push({ path, reason });
  step.notes.push({ kind: 'removed', path, reason });
}

/**
 * A monitor that nobody logs is a mistake worth stopping for, but only once it had its chance: at the end
 * of an epoch, after a validation (or when there is none to run).
 */
function missingMonitor({
  state,
  event,
  options,
  candidates,
}: Step): MisconfigurationError | undefined {
  const { monitor } = options;
  if (monitor === undefined || !state.isTopKPending || event.hook !== 'trainEpochEnd')
    return undefined;
  if (candidates.has(monitor) || !event.hasValidated) return undefined;
  const available = [...candidates.keys()];
  const { whyUnvalidated } = event;
  const why = whyUnvalidated === undefined ? '' : `Nothing is validated: ${whyUnvalidated} `;
  return new MisconfigurationError(
    `ModelCheckpoint({monitor: '${monitor}'}) has nothing to rank by: no hook has logged '${monitor}'. ` +
      `${why}Logged are ${available.map((name) => `'${name}'`).join(', ')}. Log it with ` +
      `this.log('${monitor}', value) in your module, or monitor one of these.`,
    { details: { monitor, available } },
  );
}
