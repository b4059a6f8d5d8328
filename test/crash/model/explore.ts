import type { SaveReport } from '../../../src/saving/save-job.ts';
import { systemError } from '../../../src/storages/local/fault.ts';
import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { localFiles } from '../../../src/storages/local.ts';
import type { Storage } from '../../../src/storages/storage.ts';
import { FolderNode } from './disk.ts';
import { modelFiles } from './model-files.ts';
import { type DiskState, PowerCut, restarted } from './power-cut.ts';
import { NOTHING, type Promised, Promises } from './promises.ts';
import { checkpointsOn, type StoredCheckpoint, storedCheckpoint } from './stored-checkpoint.ts';
import { epochsOf, keptBy, type Outcome, train, type Workload } from './training.ts';

export interface Exploration {
  readonly workload: string;
  /** Moments at which the power was cut: before each change of the disk, and after the last. */
  readonly crashPoints: number;
  /** Different states of the disk that were found, each recovered from and trained to its end. */
  readonly diskStates: number;
  /** Pairs of a state and what was promised when the power was cut. */
  readonly checks: number;
  /** What was broken, each kind with one example. */
  readonly violations: readonly string[];
}

/** The power goes off at this moment, and the disk is found in this state. */
interface Crash {
  readonly effect: string;
  readonly state: DiskState;
  readonly promised: Promised;
  /** The files that processes have resumed from so far. */
  readonly sources: ReadonlySet<string>;
}

/**
 * Cuts the power at every moment of a training, and checks every state that the disk may then be in.
 *
 * @param powerCuts 2: also at every moment of the training that goes on after the first. Default 1.
 */
export async function explore(
  workload: Workload,
  { powerCuts = 1 }: { readonly powerCuts?: number } = {},
): Promise<Exploration> {
  const exploring = new Exploring(workload);
  const start = new FolderNode(0);
  await workload.before?.(modelFiles(start));
  exploring.given = new Set(checkpointsOn(start).keys());
  exploring.reference = await uninterrupted(workload);
  const ends = workload.ends ?? [epochsOf(workload)];
  let crashes = await exploring.record(start, ends, { promised: NOTHING, sources: new Set() });
  for (let cuts = 1; ; cuts++) {
    for (const crash of crashes) await exploring.check(crash);
    if (cuts >= powerCuts) break;
    const before = crashes;
    crashes = [];
    for (const crash of before) {
      const root = restarted(crash.state);
      crashes.push(...(await exploring.record(root, [epochsOf(workload)], crash)));
    }
  }
  return exploring.result;
}

class Exploring {
  readonly #workload: Workload;
  readonly #powerCut: PowerCut;
  readonly #recoveries = new Map<string, Recovery>();
  readonly #found = new Set<string>();
  readonly #violations = new Map<string, string>();
  #crashPoints = 0;
  /** Checkpoints that were there before. */
  given: ReadonlySet<string> = new Set();
  /** What is left when nothing interrupts. */
  reference: ReadonlyMap<string, string> | undefined;

  constructor(workload: Workload) {
    this.#workload = workload;
    this.#powerCut = new PowerCut({ journals: workload.journals ?? false });
  }

  get result(): Exploration {
    return {
      workload: this.#workload.name,
      crashPoints: this.#crashPoints,
      diskStates: this.#recoveries.size,
      checks: this.#found.size,
      violations: [...this.#violations.values()],
    };
  }

  /** Trains without a power cut, and notes what each would have left; what was noted before counts once. */
  async record(
    root: FolderNode,
    ends: readonly number[],
    before: Pick<Crash, 'promised' | 'sources'>,
  ): Promise<Crash[]> {
    const promises = new Promises(root, before.promised);
    const sources = new Set(before.sources);
    const crashes: Crash[] = [];
    const cut = (effect: string): void => {
      this.#crashPoints += 1;
      for (const state of this.#powerCut.states(root)) {
        const crash = { effect, state, promised: promises.now, sources: new Set(sources) };
        const key = keyOf(crash);
        if (this.#found.has(key)) continue;
        this.#found.add(key);
        crashes.push(crash);
      }
    };
    const fs = systemOf(this.#workload, root, cut);
    // Two that go on from one checkpoint are one run that was started twice: its files belong to both.
    const count = before.promised === NOTHING ? (this.#workload.processes ?? 1) : 1;
    const ckptPath = count === 1 ? 'last' : undefined;
    for (const maxEpochs of ends) {
      const processes = Array.from({ length: count }, async (_, i) => {
        const process = count === 1 ? undefined : i;
        const { storage, acknowledged, kept } = promises.process(fs, process);
        const onSaved = ({ paths }: SaveReport): void => acknowledged(paths);
        const onResumed = (path: string): unknown => sources.add(path);
        const options = { storage, process, maxEpochs, ckptPath, onSaved, onResumed } as const;
        const { error, callbacks } = await train(this.#workload, options);
        if (error !== undefined) this.#report('training ends with an error', String(error));
        else kept(callbacks.flatMap(keptBy));
      });
      await Promise.all(processes);
    }
    cut('the end');
    return crashes;
  }

  async check(crash: Crash): Promise<void> {
    const { key } = crash.state;
    const recovery = this.#recoveries.get(key) ?? (await recover(this.#workload, crash.state));
    this.#recoveries.set(key, recovery);
    for (const [kind, what] of this.#broken(recovery, crash)) this.#report(kind, what, crash);
  }

  #report(kind: string, what: string, crash?: Crash): void {
    if (this.#violations.has(kind)) return;
    this.#violations.set(kind, [`${kind}: ${what}`, crash && described(crash)].join('\n'));
  }

  /** What a recovery shows to be broken: the kind, and the case. */
  *#broken(
    { checkpoints, outcome, left, temporaries, resumedStep }: Recovery,
    { promised, sources }: Crash,
  ): Generator<readonly [kind: string, what: string]> {
    for (const [path, stored] of checkpoints) {
      if (typeof stored === 'object' || (stored === 'damaged' && this.given.has(path))) continue;
      yield ['a visible checkpoint is not whole', `${path} ${stored ?? 'leads nowhere'}`];
    }
    for (const [path, { step, process }] of promised.names) {
      const stored = checkpoints.get(path);
      const isThere = typeof stored === 'object' && stored.step >= step;
      if (isThere && (process === undefined || stored.process === process)) continue;
      yield ['an acknowledged save is gone', `${path} of step ${step}`];
    }
    for (const [stateKey, score] of promised.bestScores) {
      const scores = [...checkpoints].flatMap(([path, stored]) => {
        const ranked = typeof stored === 'object' ? stored.ranked.get(path) : undefined;
        return ranked?.stateKey === stateKey ? [ranked.score] : [];
      });
      if (!(Math.min(...scores) <= score)) yield ['the best is lost', `score ${score}`];
    }
    if (resumedStep < promised.newestStep) {
      yield ["'last' finds too old a save", `step ${resumedStep}, not ${promised.newestStep}`];
    }
    if (outcome.error !== undefined) yield ['training cannot go on', String(outcome.error)];
    if (temporaries.length > 0) yield ['temporary files stay', temporaries.join(', ')];
    const { reference } = this;
    if (reference === undefined) return;
    for (const path of new Set([...reference.keys(), ...left.keys()])) {
      if (reference.get(path) === left.get(path)) continue;
      // What a run was resumed from is never removed.
      const isSource = sources.has(path) || path === outcome.resumedFrom;
      if (!reference.has(path) && isSource) continue;
      const how = !left.has(path) ? 'is missing' : reference.has(path) ? 'differs' : 'is too many';
      yield ['what is left differs from an uninterrupted run', `${path} ${how}`];
    }
  }
}

/** The checkpoints that a training leaves which nothing has interrupted; undefined when they may differ. */
async function uninterrupted(workload: Workload): Promise<ReadonlyMap<string, string> | undefined> {
  if (workload.endsOtherwise !== undefined) return undefined;
  const root = new FolderNode(0);
  await workload.before?.(modelFiles(root));
  const { error } = await train(workload, { storage: filesOn(root, workload), ckptPath: 'last' });
  if (error !== undefined) throw error;
  return contentsOn(root);
}

/** What a state holds, and what comes of training that goes on from it. */
interface Recovery {
  readonly checkpoints: ReadonlyMap<string, StoredCheckpoint | 'damaged' | 'wrong' | undefined>;
  readonly outcome: Outcome;
  readonly left: ReadonlyMap<string, string>;
  readonly temporaries: readonly string[];
  readonly resumedStep: number;
}

async function recover(workload: Workload, state: DiskState): Promise<Recovery> {
  const root = restarted(state);
  const checkpoints = new Map(
    [...checkpointsOn(root)].map(([path, bytes]) => [path, bytes && storedCheckpoint(bytes)]),
  );
  const storage = filesOn(root, workload);
  const outcome = await train(workload, { storage, ckptPath: 'last' });
  const source = checkpoints.get(outcome.resumedFrom ?? '');
  return {
    checkpoints,
    outcome,
    left: contentsOn(root),
    temporaries: temporariesIn(root),
    resumedStep: typeof source === 'object' ? source.step : 0,
  };
}

/** The same for two crashes from which the same follows. */
function keyOf({ state, promised, sources }: Crash): string {
  const { names, bestScores, newestStep } = promised;
  return JSON.stringify([
    state.key,
    [...names].sort(),
    [...bestScores],
    newestStep,
    [...sources].sort(),
  ]);
}

function described({ effect, state, promised, sources }: Crash): string {
  const disk = [...state.entries].map(([path, entry]) => {
    if (entry.kind !== 'file') return path + (entry.kind === 'link' ? ` -> ${entry.target}` : '/');
    const stored = path.endsWith('.ckpt') ? storedCheckpoint(entry.bytes) : 'not looked at';
    const what = typeof stored === 'object' ? `step ${stored.step}` : stored;
    return `${path} #${entry.id} (${what})`;
  });
  const names = [...promised.names].map(([path, { step }]) => `${path} of step ${step}`);
  return [
    `  the power is cut before: ${effect}`,
    ...disk.map((line) => `    disk: ${line}`),
    ...names.map((line) => `    promised: ${line}`),
    ...[...sources].map((path) => `    resumed from: ${path}`),
  ].join('\n');
}

function contentsOn(root: FolderNode): ReadonlyMap<string, string> {
  const contents = new Map<string, string>();
  for (const [path, bytes] of checkpointsOn(root)) {
    const stored = bytes && storedCheckpoint(bytes);
    contents.set(path, typeof stored === 'object' ? stored.content : String(stored));
  }
  return contents;
}

function temporariesIn(folder: FolderNode): string[] {
  return [...folder.entries].flatMap(([name, node]) => {
    if (node.kind === 'folder') return temporariesIn(node);
    return name.startsWith('.highwater~') ? [name] : [];
  });
}

function filesOn(root: FolderNode, workload: Workload): Storage {
  return localFiles({ fs: systemOf(workload, root) });
}

function systemOf(
  { withoutLinks = false }: Workload,
  root: FolderNode,
  cut?: (effect: string) => void,
): FileSystem {
  const fs = modelFiles(root, cut);
  return withoutLinks ? { ...fs, link: () => Promise.reject(systemError('EPERM')) } : fs;
}
