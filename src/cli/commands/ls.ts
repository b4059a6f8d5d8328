import { basename } from 'node:path/posix';
import {
  type CheckpointSummary,
  compareScores,
  groupedByFolder,
  listCheckpoints,
} from '../../inspection/index.ts';
import { sizeText } from '../../size-text.ts';
import { choiceOf } from '../arguments.ts';
import { type Command, defineCommand } from '../command.ts';
import { jsonText } from '../json.ts';
import { age, type Cell, type Column, count, number, type Style, table } from '../render.ts';
import { shownPath } from '../shown-path.ts';
import type { Terminal } from '../terminal.ts';
import { treeLines } from '../tree.ts';

const ORDERS = ['step', 'name', 'score', 'size', 'age'] as const;
type Order = (typeof ORDERS)[number];

type Compare = (a: CheckpointSummary, b: CheckpointSummary) => number;

export const ls: Command = defineCommand({
  name: 'ls',
  summary: 'list the checkpoints of a folder: which is best, which is last, which can be read',
  usage: '[<folder>] [options]',
  description:
    'Reads headers only, in the folder (default: the working folder) and those below it. That the data are\n' +
    'whole too is what verify checks. Exit code 1 when one is damaged, leads to nothing or cannot be read.',
  options: {
    sort: { type: 'string', value: 'ORDER', description: `${ORDERS.join(', ')} (default step)` },
    tree: { type: 'boolean', description: 'one table for all, with the folders as a tree' },
  },
  operands: { least: 0, most: 1 },
  examples: [
    ['highwater ls runs/digits', 'all checkpoints below a folder'],
    ['highwater ls runs/digits --sort score', 'the best first'],
    [`highwater ls runs --json | jq '.[] | select(.best) | .path'`, 'the paths of the best'],
  ],
  async run({ values, operands, json }, terminal) {
    const order = choiceOf('sort', values.sort ?? 'step', ORDERS);
    const { folder, checkpoints } = await listCheckpoints(operands[0] ?? '.');
    const sorted = [...checkpoints].sort(by[order]);
    if (json) terminal.print(jsonText(sorted.map(listed)));
    else if (sorted.length === 0) terminal.note(`No checkpoints in ${shownPath(folder)}.`);
    else if (values.tree === true) terminal.print(tree(folder, checkpoints, by[order], terminal));
    else terminal.print(tables(checkpoints, by[order], terminal));
    return checkpoints.some(isBad) ? 1 : 0;
  },
});

/** A file of another format is nobody's damage. */
function isBad({ state, problem }: CheckpointSummary): boolean {
  return problem !== null && state !== 'foreign';
}

/** What `--json` promises. */
function listed(checkpoint: CheckpointSummary): Partial<CheckpointSummary> {
  const { path, name, epoch, globalStep, monitor, score, rank, best, last } = checkpoint;
  const { sizeBytes, savedAt, state } = checkpoint;
  return {
    path,
    name,
    epoch,
    globalStep,
    monitor,
    score,
    rank,
    best,
    last,
    sizeBytes,
    savedAt,
    state,
  };
}

/** `listCheckpoints` gives them by folder and step. */
const by: Readonly<Record<Order, Compare>> = {
  step: () => 0,
  name: (a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }),
  score: byScore,
  size: (a, b) => b.sizeBytes - a.sizeBytes,
  age: (a, b) => Date.parse(b.savedAt) - Date.parse(a.savedAt),
};

/** The best first, by the monitor when there are several; what has no score comes last. */
function byScore(a: CheckpointSummary, b: CheckpointSummary): number {
  if (a.score === null || b.score === null)
    return Number(a.score === null) - Number(b.score === null);
  if (a.monitor !== b.monitor) return (a.monitor ?? '') < (b.monitor ?? '') ? -1 : 1;
  return compareScores(a.mode ?? 'min', a.score, b.score);
}

function tables(
  checkpoints: readonly CheckpointSummary[],
  compare: Compare,
  terminal: Terminal,
): string {
  const parts = [...groupedByFolder(checkpoints)].map(([folder, inside]) => {
    const heading = terminal.paint('bold', shownPath(folder));
    const names = inside.sort(compare).map((checkpoint) => {
      return { label: checkpoint.path.slice(folder.length + 1), checkpoint };
    });
    return `${heading}  ${total(inside, terminal)}\n${checkpointTable(names, terminal)}`;
  });
  return parts.join('\n\n');
}

function tree(
  folder: string,
  checkpoints: readonly CheckpointSummary[],
  compare: Compare,
  terminal: Terminal,
): string {
  const sorted = [...groupedByFolder(checkpoints).values()].flatMap((inside) =>
    inside.sort(compare),
  );
  const lines = treeLines(sorted.map(({ path }) => path.slice(folder.length).replace(/^\//, '')));
  const rows = lines.map(({ branch, name, leaf }): Row => {
    return leaf === undefined
      ? { label: branch + name }
      : { label: branch + name, checkpoint: sorted[leaf] as CheckpointSummary };
  });
  const heading = terminal.paint('bold', shownPath(folder));
  return `${heading}  ${total(checkpoints, terminal)}\n${checkpointTable(rows, terminal)}`;
}

function total(checkpoints: readonly CheckpointSummary[], { paint }: Terminal): string {
  const bytes = checkpoints.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return paint('dim', `${count(checkpoints.length, 'checkpoint')}, ${sizeText(bytes)}`);
}

/** A line of the table: a checkpoint, or (in a tree) a folder. */
type Row =
  | { readonly label: string; readonly checkpoint: CheckpointSummary }
  | { readonly label: string };

function checkpointTable(lines: readonly Row[], terminal: Terminal): string {
  const checkpoints = lines.flatMap((line) => ('checkpoint' in line ? line.checkpoint : []));
  const monitors = new Set(checkpoints.flatMap(({ monitor }) => monitor ?? []));
  const [only] = monitors.size === 1 ? monitors : [];
  const columns: readonly Column[] = [
    { title: 'name' },
    { title: 'epoch', align: 'right' },
    { title: 'step', align: 'right' },
    { title: only ?? 'score', align: 'right' },
    { title: 'rank' },
    { title: 'size', align: 'right' },
    { title: 'age', align: 'right' },
    { title: 'state' },
  ];
  const now = terminal.now();
  const rows = lines.map((line): (Cell | string)[] => {
    if (!('checkpoint' in line)) return [{ text: line.label, style: 'bold' }];
    const { checkpoint } = line;
    const { target, epoch, globalStep, monitor, score, sizeBytes, savedAt, state } = checkpoint;
    const link = target === null ? '' : ` -> ${basename(target)}`;
    const scored = score === null ? '' : number(score);
    return [
      { text: line.label + link, style: checkpoint.best ? 'bold' : undefined },
      epoch === null ? '' : String(epoch),
      globalStep === null ? '' : String(globalStep),
      only === undefined && monitor !== null ? `${monitor} ${scored}` : scored,
      { text: rankOf(checkpoint), style: checkpoint.best ? 'green' : undefined },
      sizeText(sizeBytes),
      age(now - Date.parse(savedAt)),
      { text: state, style: styleOf(checkpoint) },
    ];
  });
  return table(columns, rows, terminal.paint);
}

function rankOf({ rank, best, last }: CheckpointSummary): string {
  if (last) return 'last';
  if (rank === null) return '';
  return best ? `${rank} best` : String(rank);
}

function styleOf({ state }: CheckpointSummary): Style | undefined {
  if (state === 'whole') return undefined;
  return state === 'weights only' || state === 'foreign' ? 'dim' : 'red';
}
