import { compareScores, type Mode } from '../checkpoint/monitor.ts';
import { MisconfigurationError } from '../errors.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { type CheckpointSummary, type FileState, oldestFirst } from './summary.ts';

/** Which checkpoints of each folder stay. At least one of the first three must be given. */
export interface PruneRules {
  /** The best n saves, by score; of whole checkpoints and of weights alone as many each. */
  readonly keepTop?: number | undefined;
  /** The newest n saves; of whole checkpoints and of weights alone as many each. */
  readonly keepLast?: number | undefined;
  /** All that were saved less long ago than this, in milliseconds. */
  readonly olderThanMs?: number | undefined;
  /** The metric that `keepTop` ranks by. Default: what each was ranked by. */
  readonly by?: string | undefined;
  /** Whether low or high values of `by` are better. Default: as the checkpoints themselves say. */
  readonly mode?: Mode | undefined;
}

const RULE_NAMES: OptionNames<PruneRules> = {
  keepTop: true,
  keepLast: true,
  olderThanMs: true,
  by: true,
  mode: true,
};

/** What is to become of a file, and why. */
export interface PruneStep {
  readonly checkpoint: CheckpointSummary;
  readonly reason: string;
}

/** What pruning would do in one folder. Nothing has happened yet. */
export interface PrunePlan {
  readonly keep: readonly PruneStep[];
  /** In the order in which they go: a link before what it leads to. */
  readonly remove: readonly PruneStep[];
}

/** The files that pruning may remove. */
const KINDS = ['whole', 'weights only'] as const satisfies readonly FileState[];

/**
 * Decides which checkpoints of one folder stay. Pure. Several names of one save count once. Weights alone never
 * take the place of what training can go on from: each kind has its own best and newest. Only files that
 * Highwater wrote and can read are ever removed; what a kept link leads to stays; and the last whole checkpoint
 * (without any: the last weights) stays, whatever the rules say.
 *
 * @throws MisconfigurationError for rules that keep nothing on purpose, counts that are not whole or below 0,
 * a `by` that no checkpoint holds or without a mode that anybody knows, and `keepTop` above 0 when nothing has
 * a score.
 */
export function decidePrune(
  checkpoints: readonly CheckpointSummary[],
  rules: PruneRules,
  nowMs: number,
): PrunePlan {
  checkRules(rules);
  const own = checkpoints.filter(({ state }) => KINDS.some((kind) => kind === state));
  const reasons = new Map<CheckpointSummary, string>();
  const keep = (checkpoint: CheckpointSummary, reason: string): void => {
    if (!reasons.has(checkpoint)) reasons.set(checkpoint, reason);
  };
  const isOwn = new Set(own);
  for (const checkpoint of checkpoints) {
    if (!isOwn.has(checkpoint)) keep(checkpoint, `${checkpoint.state}: left alone`);
  }
  for (const [checkpoint, place] of best(own, rules)) keep(checkpoint, place);
  for (const kind of KINDS) {
    newest(ofKind(own, kind), rules.keepLast ?? 0).forEach((checkpoint, i) => {
      keep(checkpoint, i === 0 ? 'newest' : 'among the newest');
    });
  }
  for (const checkpoint of own) {
    const ageMs = nowMs - Date.parse(checkpoint.savedAt);
    if (rules.olderThanMs !== undefined && ageMs < rules.olderThanMs) keep(checkpoint, 'too young');
  }
  keepOneWhole(own, keep, reasons);
  keepTargets(own, keep, reasons);
  const all = [...checkpoints];
  const twins = new Map(
    [...reasons.keys()].map((checkpoint) => [saveOf(checkpoint), checkpoint.name]),
  );
  return {
    keep: all.flatMap((checkpoint) => {
      const reason = reasons.get(checkpoint);
      return reason === undefined ? [] : { checkpoint, reason };
    }),
    remove: all
      .filter((checkpoint) => !reasons.has(checkpoint))
      .sort((a, b) => Number(b.target !== null) - Number(a.target !== null))
      .map((checkpoint) => {
        const other = twins.get(saveOf(checkpoint));
        const twin = other === undefined ? undefined : `the same save as ${other}, which stays`;
        return { checkpoint, reason: twin ?? whyGone(rules) };
      }),
  };
}

function checkRules(rules: PruneRules): void {
  checkOptionNames('prune', rules, RULE_NAMES);
  const { keepTop, keepLast, olderThanMs } = rules;
  if (keepTop === undefined && keepLast === undefined && olderThanMs === undefined) {
    throw new MisconfigurationError(
      'prune: say what stays: the best (keepTop), the newest (keepLast), or the young (olderThanMs).',
    );
  }
  for (const [name, value] of Object.entries({ keepTop, keepLast })) {
    if (value === undefined || (Number.isSafeInteger(value) && value >= 0)) continue;
    throw new MisconfigurationError(
      `prune: ${name} is ${value}, but it must be a whole number of at least 0.`,
      { details: { option: name, value } },
    );
  }
  if (olderThanMs !== undefined && !(olderThanMs >= 0)) {
    throw new MisconfigurationError(
      `prune: olderThanMs is ${olderThanMs}, but it must be a number of at least 0.`,
      { details: { option: 'olderThanMs', value: olderThanMs } },
    );
  }
}

interface Scored {
  readonly checkpoint: CheckpointSummary;
  readonly monitor: string;
  readonly mode: Mode;
  readonly score: number;
}

function best(
  own: readonly CheckpointSummary[],
  rules: PruneRules,
): readonly (readonly [CheckpointSummary, reason: string])[] {
  const { keepTop = 0 } = rules;
  if (keepTop === 0 || own.length === 0) return [];
  if (own.every(isUnranked)) return own.map((weights) => [weights, 'never ranked: left alone']);
  const scored = scoresOf(own, rules);
  const monitors = [...new Set(scored.map(({ monitor }) => monitor))];
  return KINDS.flatMap((kind) =>
    monitors.flatMap((by) => {
      const rivals = scored.filter(
        ({ checkpoint, monitor }) => checkpoint.state === kind && monitor === by,
      );
      return bySave(rivals)
        .sort(bestFirst)
        .slice(0, keepTop)
        .map(({ checkpoint }, i) => [checkpoint, `${ordinal(i + 1)} by ${by}`] as const);
    }),
  );
}

function scoresOf(own: readonly CheckpointSummary[], { by, mode }: PruneRules): readonly Scored[] {
  const known = mode ?? own.find(({ monitor }) => by !== undefined && monitor === by)?.mode;
  const scored = own.flatMap((checkpoint): Scored | [] => {
    const { monitor, score, metrics } = checkpoint;
    if (by === undefined || by === monitor) {
      const itsMode = mode ?? checkpoint.mode;
      if (monitor === null || score === null || itsMode === null) return [];
      return { checkpoint, monitor, mode: itsMode, score };
    }
    const value = metrics.find(({ name }) => name === by)?.value;
    if (value === undefined) return [];
    if (known !== undefined && known !== null) {
      return { checkpoint, monitor: by, mode: known, score: value };
    }
    throw new MisconfigurationError(
      `prune: no checkpoint says whether low or high values of '${by}' are better: say so with mode.`,
      { details: { by } },
    );
  });
  if (scored.length > 0) return scored;
  const names = own.flatMap(({ monitor, metrics }) => [
    ...(monitor === null ? [] : [monitor]),
    ...metrics.map(({ name }) => name),
  ]);
  const there = [...new Set(names)].map((name) => `'${name}'`).join(', ');
  throw new MisconfigurationError(
    `prune: keepTop needs scores, and no checkpoint has ${by === undefined ? 'one' : `'${by}'`}. ` +
      (there === '' ? 'Keep the newest (keepLast) instead.' : `They have ${there}.`),
    { details: { by: by ?? null } },
  );
}

/** Weights that no callback has saved: an average, an import. */
function isUnranked({ state, score, metrics }: CheckpointSummary): boolean {
  return state === 'weights only' && score === null && metrics.length === 0;
}

/** One name of each save: the ranked one, if there is one. */
function bySave(scored: readonly Scored[]): Scored[] {
  const saves = new Map<string, Scored>();
  for (const candidate of scored) {
    const key = saveOf(candidate.checkpoint);
    const other = saves.get(key);
    if (
      other === undefined ||
      (other.checkpoint.rank === null && candidate.checkpoint.rank !== null)
    ) {
      saves.set(key, candidate);
    }
  }
  return [...saves.values()];
}

function bestFirst(a: Scored, b: Scored): number {
  return compareScores(a.mode, a.score, b.score) || oldestFirst(a.checkpoint, b.checkpoint);
}

function ofKind(
  own: readonly CheckpointSummary[],
  kind: (typeof KINDS)[number],
): readonly CheckpointSummary[] {
  return own.filter(({ state }) => state === kind);
}

/** The newest saves, the newest first; of the names of a save the last file, if there is one. */
function newest(own: readonly CheckpointSummary[], most: number): readonly CheckpointSummary[] {
  const saves = new Map<string, CheckpointSummary>();
  for (const checkpoint of [...own].sort(oldestFirst).reverse()) {
    const key = saveOf(checkpoint);
    const other = saves.get(key);
    if (other === undefined || (checkpoint.last && !other.last)) saves.set(key, checkpoint);
  }
  return [...saves.values()].slice(0, most);
}

/** The same for every name of one content. */
function saveOf({ globalStep, sequence, state, path }: CheckpointSummary): string {
  return globalStep === null ? path : `${globalStep} ${sequence} ${state}`;
}

function keepOneWhole(
  own: readonly CheckpointSummary[],
  keep: (checkpoint: CheckpointSummary, reason: string) => void,
  kept: ReadonlyMap<CheckpointSummary, string>,
): void {
  const whole = ofKind(own, 'whole');
  const [kind, name] = whole.length > 0 ? [whole, 'whole checkpoint'] : [own, 'weights'];
  if (kind.some((checkpoint) => kept.has(checkpoint))) return;
  const [last] = newest(kind, 1);
  if (last !== undefined) keep(last, `the only ${name} that would be left`);
}

/** What a kept link leads to stays; through links to links. */
function keepTargets(
  own: readonly CheckpointSummary[],
  keep: (checkpoint: CheckpointSummary, reason: string) => void,
  kept: ReadonlyMap<CheckpointSummary, string>,
): void {
  const byPath = new Map(own.map((checkpoint) => [checkpoint.path, checkpoint]));
  for (const link of own) {
    if (!kept.has(link)) continue;
    let target = link.target === null ? undefined : byPath.get(link.target);
    while (target !== undefined && !kept.has(target)) {
      keep(target, `${link.name} leads to it`);
      target = target.target === null ? undefined : byPath.get(target.target);
    }
  }
}

function whyGone({ keepTop, keepLast, olderThanMs }: PruneRules): string {
  const rules = [
    ...(keepTop === undefined ? [] : [outside(keepTop, 'best')]),
    ...(keepLast === undefined ? [] : [outside(keepLast, 'newest')]),
    ...(olderThanMs === undefined ? [] : ['old enough']),
  ];
  return rules.join(', ');
}

function outside(count: number, what: string): string {
  return count === 1 ? `not the ${what}` : `not among the ${count} ${what}`;
}

function ordinal(place: number): string {
  return place === 1 ? 'best' : `number ${place}`;
}
