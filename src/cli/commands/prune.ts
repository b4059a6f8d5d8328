import {
  type FolderPlan,
  type PruneStep,
  planPrune,
  prune as pruneFiles,
} from '../../inspection/index.ts';
import { sizeText } from '../../size-text.ts';
import { choiceOf, countOf, spanMsOf } from '../arguments.ts';
import { type Command, defineCommand, type ExitCode, Misuse } from '../command.ts';
import { jsonText } from '../json.ts';
import { age, type Cell, count, number, printable, table } from '../render.ts';
import { shownPath } from '../shown-path.ts';
import type { Terminal } from '../terminal.ts';

export const prune: Command = defineCommand({
  name: 'prune',
  summary: 'remove checkpoints that are not among the best or the newest; shows a plan and asks',
  usage: '<folder> [--keep-top N] [--keep-last N] [--older-than SPAN] [options]',
  description:
    'Each folder keeps its own best and newest; several names of one save count once, and weights alone\n' +
    'count apart from whole checkpoints. What stays by any rule stays.\n' +
    'Never removes the only whole checkpoint, a file that is not a checkpoint of Highwater, or what a link that\n' +
    'stays leads to; before anything goes, one that stays is read in full. Removals are noted in the journal.',
  options: {
    'keep-top': { type: 'string', value: 'N', description: 'the best N stay' },
    'keep-last': { type: 'string', value: 'N', description: 'the newest N stay' },
    'older-than': {
      type: 'string',
      value: 'SPAN',
      description: 'what is younger stays: 90s, 30m, 12h, 7d, 2w',
    },
    by: { type: 'string', value: 'METRIC', description: 'rank by this, not by what was monitored' },
    mode: { type: 'string', value: 'MODE', description: "of --by: 'min' or 'max' is better" },
    'dry-run': { type: 'boolean', description: 'show the plan, remove nothing' },
    yes: { type: 'boolean', short: 'y', description: 'do not ask' },
  },
  operands: { least: 1, most: 1 },
  examples: [
    [
      'highwater prune runs/digits --keep-top 3 --keep-last 1',
      'the three best and the newest stay',
    ],
    ['highwater prune runs --keep-last 1 --older-than 7d --yes', 'in a script'],
    [
      'highwater prune runs/digits --keep-top 1 --by val_loss --mode min',
      'the best by another metric',
    ],
  ],
  async run({ values, operands: [folder = ''], json }, terminal) {
    const rules = {
      keepTop: countOf('keep-top', values['keep-top']),
      keepLast: countOf('keep-last', values['keep-last']),
      olderThanMs: spanMsOf('older-than', values['older-than']),
      by: values.by,
      mode: values.mode === undefined ? undefined : choiceOf('mode', values.mode, ['min', 'max']),
    };
    if (rules.mode !== undefined && rules.by === undefined) {
      throw new Misuse('--mode says what is better for --by METRIC: give both.');
    }
    if (rules.by !== undefined && rules.keepTop === undefined) {
      throw new Misuse('--by says what --keep-top N ranks by: give both.');
    }
    if ((rules.keepTop ?? rules.keepLast ?? rules.olderThanMs) === undefined) {
      throw new Misuse(
        'prune needs to know what stays: --keep-top N, --keep-last N or --older-than SPAN.',
      );
    }
    const plans = await planPrune(folder, rules);
    const isDry = values['dry-run'] === true;
    const isSure = values.yes === true;
    const removals = plans.flatMap(({ remove }) => remove);
    if (!json) terminal.print(plansText(plans, terminal));
    if (removals.length === 0 || isDry) {
      if (json) terminal.print(jsonText({ ...planned(plans), removed: [], left: [] }));
      return 0;
    }
    if (!isSure && (json || !terminal.isInteractive)) {
      throw new Misuse(
        'Nothing was removed: nobody can be asked here. Say --yes, or --dry-run to look only.',
      );
    }
    if (!isSure && !(await terminal.confirm(`Remove ${count(removals.length, 'file')}?`))) {
      terminal.note('Nothing was removed.');
      return 0;
    }
    return await carryOut(plans, json, terminal);
  },
});

async function carryOut(
  plans: readonly FolderPlan[],
  json: boolean,
  { print, note }: Terminal,
): Promise<ExitCode> {
  const { removed, left } = await pruneFiles(plans);
  if (json) print(jsonText({ ...planned(plans), removed, left }));
  else print(`Removed ${count(removed.length, 'file')}.`);
  for (const { path, problem } of left)
    note(`${shownPath(path)} is still there: ${printable(problem)}`);
  return left.length === 0 ? 0 : 1;
}

function planned(plans: readonly FolderPlan[]): { keep: object[]; remove: object[] } {
  const spell = ({ checkpoint: { path, sizeBytes }, reason }: PruneStep): object => ({
    path,
    sizeBytes,
    reason,
  });
  return {
    keep: plans.flatMap(({ keep }) => keep.map(spell)),
    remove: plans.flatMap(({ remove }) => remove.map(spell)),
  };
}

function plansText(plans: readonly FolderPlan[], terminal: Terminal): string {
  if (plans.length === 0) return 'No checkpoints.';
  const keep = plans.flatMap((plan) => plan.keep);
  const remove = plans.flatMap((plan) => plan.remove);
  const sum = `${count(remove.length, 'file')} to remove, ${count(keep.length, 'file')} to keep.`;
  return [...plans.map((plan) => planText(plan, terminal)), sum].join('\n\n');
}

function planText({ folder, keep, remove }: FolderPlan, { paint, now }: Terminal): string {
  const columns = [
    { title: '' },
    { title: 'name' },
    { title: 'step', align: 'right' },
    { title: 'score', align: 'right' },
    { title: 'size', align: 'right' },
    { title: 'age', align: 'right' },
    { title: 'why' },
  ] as const;
  const row = (verdict: Cell, { checkpoint, reason }: PruneStep): (Cell | string)[] => {
    const { path, globalStep, score, sizeBytes, savedAt } = checkpoint;
    return [
      verdict,
      path.slice(folder.length + 1),
      globalStep === null ? '' : String(globalStep),
      score === null ? '' : number(score),
      sizeText(sizeBytes),
      age(now() - Date.parse(savedAt)),
      reason,
    ];
  };
  const rows = [
    ...keep.map((step) => row({ text: 'keep', style: 'green' }, step)),
    ...remove.map((step) => row({ text: 'remove', style: 'red' }, step)),
  ];
  return `${paint('bold', shownPath(folder))}\n${table(columns, rows, paint)}`;
}
