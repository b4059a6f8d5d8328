import { basename } from 'node:path/posix';
import {
  type FileHistory,
  type History,
  type HistoryEvent,
  readFileHistory,
  readHistory,
} from '../../inspection/index.ts';
import { type Command, defineCommand } from '../command.ts';
import { jsonText } from '../json.ts';
import { age, type Cell, number, pairs, printable, table } from '../render.ts';
import { shownPath } from '../shown-path.ts';
import type { Terminal } from '../terminal.ts';

export const why: Command = defineCommand({
  name: 'why',
  summary: 'tell the history: what was saved when, with which score, and why it was removed',
  usage: '<folder|file> [options]',
  description:
    'From the journal beside the checkpoints (.highwater/history.jsonl) and, where that says nothing of a save, from\n' +
    'the files that are there.\n' +
    'A file may be gone: its history is told all the same.',
  options: {},
  operands: { least: 1, most: 1 },
  examples: [
    ['highwater why runs/digits', 'the history of a run'],
    ['highwater why runs/digits/checkpoints/epoch=0-step=141.ckpt', 'what became of one file'],
  ],
  async run({ operands: [path = ''], json }, terminal) {
    const histories = await historiesIn(path);
    if (histories !== undefined) {
      if (json) terminal.print(jsonText(histories.map(told)));
      else if (histories.length === 0) terminal.note(`No history in ${printable(path)}.`);
      else terminal.print(histories.map((history) => historyText(history, terminal)).join('\n\n'));
    } else {
      const history = await readFileHistory(path);
      if (json) terminal.print(jsonText(told(history)));
      else terminal.print(fileText(history, path, terminal));
    }
    return 0;
  },
});

/** Undefined when the path is no folder: a file, or one that is gone. */
async function historiesIn(path: string): Promise<readonly History[] | undefined> {
  try {
    return await readHistory(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'STORAGE_NOTAFOLDER' || code === 'STORAGE_NOTFOUND') return undefined;
    throw error;
  }
}

/** Without the list of what is there: that is what ls tells. */
function told<T extends History>(history: T): Omit<T, 'checkpoints'> {
  const { checkpoints: _, ...rest } = history;
  return rest;
}

function historyText(history: History, { paint, now }: Terminal): string {
  const { folder, source, events, checkpoints } = history;
  const from = source === 'journal' ? 'by its journal' : 'without a journal: by the files';
  const there = new Set(checkpoints.map(({ name }) => name));
  const columns = [
    { title: 'ago', align: 'right' },
    { title: 'epoch', align: 'right' },
    { title: 'step', align: 'right' },
    { title: monitorOf(events), align: 'right' },
    { title: '' },
    { title: 'file' },
    { title: 'why' },
  ] as const;
  const rows = hooksOf(events).flatMap((hook) =>
    hook.map(({ event, others }, i): (Cell | string)[] => {
      const isFirst = i === 0;
      return [
        isFirst && event.at !== null ? age(now() - Date.parse(event.at)) : '',
        isFirst && event.epoch !== null ? String(event.epoch) : '',
        isFirst && event.globalStep !== null ? String(event.globalStep) : '',
        event.score === null || event.kind === 'removed' ? '' : number(event.score),
        {
          text: event.kind,
          style: event.kind === 'saved' ? 'green' : event.kind === 'removed' ? 'red' : 'yellow',
        },
        fileCell([event, ...others], there),
        { text: reasonOf(event), style: 'dim' },
      ];
    }),
  );
  const heading = `${paint('bold', shownPath(folder))}  ${paint('dim', from)}`;
  return `${heading}\n${table(columns, rows, paint)}`;
}

/** What stands in one line: an event, and the other names that its save was given. */
interface Line {
  readonly event: HistoryEvent;
  readonly others: readonly HistoryEvent[];
}

/** The events of one hook stand together, its first with the time, and all names of a save in one line. */
function hooksOf(events: readonly HistoryEvent[]): readonly (readonly Line[])[] {
  const hooks: HistoryEvent[][] = [];
  for (const event of events) {
    const current = hooks.at(-1);
    const before = current?.[0];
    const isSame = before?.globalStep === event.globalStep && before.epoch === event.epoch;
    if (current !== undefined && isSame) current.push(event);
    else hooks.push([event]);
  }
  return hooks.map((hook) => {
    const [first, ...others] = hook.filter(({ kind }) => kind === 'saved');
    return hook.flatMap((event): Line | [] => {
      if (event.kind !== 'saved') return { event, others: [] };
      return event === first ? { event, others } : [];
    });
  });
}

function monitorOf(events: readonly HistoryEvent[]): string {
  const scored = events.filter(({ score }) => score !== null);
  const monitors = new Set(scored.map(({ monitor }) => monitor));
  const [only] = monitors;
  return monitors.size === 1 && only !== null && only !== undefined ? only : 'score';
}

function fileCell(events: readonly HistoryEvent[], there: ReadonlySet<string>): Cell {
  const names = events.flatMap(({ path }) => (path === null ? [] : basename(path)));
  const isThere = events[0]?.kind === 'saved' && there.has(names[0] ?? '');
  return { text: names.join(', '), style: isThere ? 'bold' : undefined };
}

function reasonOf({ kind, reason, worstKept, role }: HistoryEvent): string {
  if (kind === 'rejected') {
    return worstKept === null ? '' : `not better than the worst kept, ${number(worstKept)}`;
  }
  if (kind === 'removed') return reason ?? '';
  return role === 'exception' ? 'the run ended before its time' : '';
}

function fileText(history: FileHistory, path: string, { paint, now }: Terminal): string {
  const { fate, checkpoint, source } = history;
  const rows: (readonly [string, Cell | string])[] = [];
  if (fate?.saved) rows.push(['saved', `${when(fate.saved, now())}${scoreText(fate.saved)}`]);
  if (fate?.removed) {
    rows.push(['removed', when(fate.removed, now())]);
    if (fate.removed.reason !== null) rows.push(['because', fate.removed.reason]);
  }
  if (fate?.replacedBy) {
    const { path: by } = fate.replacedBy;
    rows.push(['made room for', `${basename(by ?? '')}${scoreText(fate.replacedBy)}`]);
  }
  rows.push(['now', nowText(history)]);
  if (source === 'files')
    rows.push(['', { text: 'there is no journal: this is by the files', style: 'dim' }]);
  const shown = shownPath(checkpoint?.path ?? fate?.path ?? path);
  return `${paint('bold', shown)}\n${pairs(rows, paint)}`;
}

function nowText({ checkpoint }: FileHistory): Cell {
  if (checkpoint === null) return { text: 'gone', style: 'red' };
  const { rank, last, state, monitor } = checkpoint;
  const place = rank === null ? '' : `, number ${rank} by ${monitor}`;
  return { text: `there, ${state}${last ? ', the last file' : place}`, style: 'green' };
}

function when({ epoch, globalStep, at }: HistoryEvent, nowMs: number): string {
  const parts = [
    ...(globalStep === null ? [] : [`step ${globalStep}`]),
    ...(epoch === null ? [] : [`epoch ${epoch}`]),
    ...(at === null ? [] : [`${age(nowMs - Date.parse(at))} ago`]),
  ];
  return parts.join(', ');
}

function scoreText({ monitor, score }: HistoryEvent): string {
  return score === null ? '' : `, ${monitor ?? 'score'} ${number(score)}`;
}
