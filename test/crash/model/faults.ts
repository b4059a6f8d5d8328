import { HighwaterError, StorageError } from '../../../src/errors.ts';
import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { type Call, observed, systemError } from '../../storages/observed-file-system.ts';
import { FolderNode } from './disk.ts';
import { modelFiles } from './model-files.ts';
import { NOTHING, type Promised, Promises } from './promises.ts';
import { checkpointsOn, storedCheckpoint } from './stored-checkpoint.ts';
import { keptBy, type Outcome, train, type Workload } from './training.ts';

/** Which calls of the system fail when the trouble lasts; a single call may always fail. */
export const FAULTS = {
  ENOSPC: ['open', 'writev', 'datasync', 'link', 'symlink', 'mkdir', 'rename', 'syncFolder'],
  EROFS: ['open', 'writev', 'link', 'symlink', 'mkdir', 'rename', 'unlink'],
  EXDEV: ['link', 'rename'],
  EMFILE: ['open', 'names', 'syncFolder'],
  EACCES: undefined,
  EIO: undefined,
} as const satisfies Record<string, readonly Call['operation'][] | undefined>;

export type FaultCode = keyof typeof FAULTS;

export interface Fault {
  readonly code: FaultCode;
  /** The first call that fails, from 0. */
  readonly at: number;
  /** All later calls fail too, as far as such trouble concerns them. */
  readonly lasts: boolean;
  readonly onSaveError: 'throw' | 'warn';
}

/** Trains for an epoch; a second process goes on, and that one has the trouble. */
const WORKLOAD: Workload = {
  name: 'faults',
  callbacks: [
    { monitor: 'loss', filename: '{step}', saveTopK: 2, saveLast: 'link' },
    { filename: 'new-{step}' },
  ],
  losses: [4, 3, 2, 1],
};
const STEPS = WORKLOAD.losses.length;
const STEPS_BEFORE = 2;

/** What one run with a fault came to. */
export interface FaultyRun {
  /** The call that failed first; undefined when the run made fewer calls. */
  readonly call: Call | undefined;
  /** What is wrong with how it ended. */
  readonly problems: readonly string[];
}

export async function runWith(fault: Fault): Promise<FaultyRun> {
  const workload = { ...WORKLOAD, trainer: { onSaveError: fault.onSaveError } };
  const root = new FolderNode(0);
  const promises = new Promises(root, NOTHING);
  await trainOn(workload, modelFiles(root), promises, { maxEpochs: STEPS_BEFORE / 2 });
  let calls = 0;
  let call: Call | undefined;
  const failing = observed(modelFiles(root), (present) => {
    const isFirst = calls++ === fault.at;
    if (isFirst) call = present;
    const isConcerned = FAULTS[fault.code]?.includes(present.operation as never) ?? true;
    if (isFirst || (fault.lasts && calls > fault.at && isConcerned)) throw systemError(fault.code);
  });
  const outcome = await trainOn(workload, failing, promises, {});
  const problems = [
    ...wrongEnd(outcome, fault, call),
    ...lost(root, promises.now),
    ...left(root, fault, call),
    ...missing(root, outcome),
  ];
  // The trouble is over, and the next process goes on.
  const { newestStep } = promises.now;
  const next = await trainOn(workload, modelFiles(root), promises, {});
  if (next.error !== undefined) problems.push(`afterwards: ${next.error}`);
  if (next.globalStep !== STEPS) problems.push(`afterwards it ends at step ${next.globalStep}`);
  if (newestStep === 0 || next.resumedFrom === undefined) problems.push('it begins anew');
  const afterwards = [
    ...lost(root, promises.now),
    ...missing(root, next),
    ...astray(root, [outcome, next]),
  ];
  problems.push(...afterwards.map((problem) => `afterwards: ${problem}`));
  return { call, problems };
}

async function trainOn(
  workload: Workload,
  fs: FileSystem,
  promises: Promises,
  options: { readonly maxEpochs?: number },
): Promise<Outcome> {
  const { storage, acknowledged } = promises.process(fs, undefined);
  const onSaved = ({ paths }: { readonly paths: readonly string[] }): void => acknowledged(paths);
  return await train(workload, { storage, onSaved, ckptPath: 'last', ...options });
}

/** An error says what, where and why; without one, everything was saved or a warning says what was not. */
function* wrongEnd(
  { error, warnings, globalStep }: Outcome,
  { code, onSaveError }: Fault,
  call: Call | undefined,
): Generator<string> {
  if (error === undefined) {
    if (globalStep !== STEPS) yield `it ends at step ${globalStep} without an error`;
    return;
  }
  if (call === undefined) yield `without any fault it fails: ${error}`;
  const storage = storageErrorIn(error);
  if (!(error instanceof HighwaterError) || storage === undefined) {
    yield `the error is not one of Highwater's: ${error}`;
    return;
  }
  if (storage.details.code !== code || !error.message.includes(storage.path)) {
    yield `the error does not say what and where: ${error.message}`;
  }
  if (code === 'ENOSPC' && storage.details.freeBytes === undefined) {
    yield `the error does not say how much is free: ${error.message}`;
  }
  if (call?.operation === 'writev' && code === 'ENOSPC' && error.code === 'SAVE_FAILED') {
    if (storage.details.wantedBytes === undefined) yield 'it does not say how much was wanted';
  }
  if (onSaveError === 'warn' && globalStep > STEPS_BEFORE) {
    yield `training ends although failed saves are only warned of: ${error.message}`;
  }
  if (warnings.some((warning) => warning.includes('undefined'))) yield warnings.join('\n');
}

function storageErrorIn(error: unknown): StorageError | undefined {
  if (error instanceof StorageError) return error;
  return error instanceof Error ? storageErrorIn(error.cause) : undefined;
}

/** Promises that do not hold. */
function* lost(root: FolderNode, { names, bestScores, newestStep }: Promised): Generator<string> {
  const found = new Map(
    [...checkpointsOn(root)].map(([path, bytes]) => [path, bytes && storedCheckpoint(bytes)]),
  );
  const whole = [...found].flatMap(([path, stored]) =>
    typeof stored === 'object' ? [{ path, ...stored }] : [],
  );
  for (const [path, stored] of found) {
    if (typeof stored !== 'object') yield `${path} ${stored ?? 'leads nowhere'}`;
  }
  for (const [path, { step }] of names) {
    if (!whole.some((file) => file.path === path && file.step >= step)) yield `${path} is lost`;
  }
  for (const [stateKey, score] of bestScores) {
    const scores = whole.flatMap(({ path, ranked }) => {
      const own = ranked.get(path);
      return own?.stateKey === stateKey ? [own.score] : [];
    });
    if (!(Math.min(...scores) <= score)) yield `the best, ${score}, is lost`;
  }
  if (!whole.some(({ isFull, step }) => isFull && step >= newestStep)) yield 'the newest is lost';
}

/** What lies about: at most the one temporary file whose removal failed, or the one being written. */
function* left(root: FolderNode, { lasts }: Fault, call: Call | undefined): Generator<string> {
  const names: string[] = [];
  const look = (folder: FolderNode): void => {
    for (const [name, node] of folder.entries) {
      if (node.kind === 'folder') look(node);
      else if (name.includes('.highwater~')) names.push(name);
    }
  };
  look(root);
  const most = lasts || call?.operation === 'unlink' ? 1 : 0;
  if (names.length > most) yield `temporary files stay: ${names.join(', ')}`;
}

/** What the callbacks count as theirs, and is not there. */
function* missing(root: FolderNode, { callbacks }: Outcome): Generator<string> {
  const found = checkpointsOn(root);
  for (const path of new Set(callbacks.flatMap(keptBy))) {
    if (!found.has(path)) yield `${path} counts as kept, and is not there`;
  }
}

/** Nobody's checkpoints pile up: one may have got its name, and not the flush that makes it somebody's. */
function* astray(root: FolderNode, runs: readonly [Outcome, Outcome]): Generator<string> {
  const known = new Set(runs.map(({ resumedFrom }) => resumedFrom));
  for (const path of runs[1].callbacks.flatMap(keptBy)) known.add(path);
  const others = [...checkpointsOn(root).keys()].filter((path) => !known.has(path));
  if (others.length > 1) yield `nobody keeps ${others.join(', ')}`;
}
