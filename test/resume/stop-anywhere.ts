import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { JsonObject } from '../../src/format/json.ts';
import { readCheckpoint } from '../format/checkpoint-bytes.ts';
import type { Configuration } from './configuration.ts';
import { filesIn, type RecordedRun, recordedRun, type SavePoint } from './recorded-run.ts';

/** Files that cost no disk, where there are such: what is durable is tested elsewhere. */
const MEMORY = '/dev/shm';

const TIME = /"at":"[^"]*",?/g;

/** What came of it. */
export interface Outcome {
  /** How many points the run could be stopped at, and how many of them were tried. */
  readonly points: number;
  readonly tried: number;
  /** What a resumed run did otherwise, for a person; empty when nothing. */
  readonly problems: readonly string[];
}

/**
 * Trains once to the end; then, for each point that `choose` takes, puts the files back as they were there,
 * resumes with a new Trainer and module (in this process, unless `resume` does otherwise), and compares everything with what the unbroken run did from there on.
 */
export async function stopAnywhere(
  configuration: Configuration,
  choose: (points: readonly SavePoint[]) => readonly SavePoint[] = (points) => points,
  resume: (
    configuration: Configuration,
    folder: string,
    from: SavePoint,
  ) => Promise<RecordedRun> = here,
): Promise<Outcome> {
  const root = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'highwater-stopped-'));
  try {
    const folder = join(root, 'run');
    const whole = await recordedRun(configuration, {
      folder,
      copies: join(root, 'copies'),
      from: undefined,
    });
    const problems: string[] = [];
    const chosen = choose(whole.points);
    for (const point of chosen) {
      rmSync(folder, { recursive: true });
      cpSync(point.copy, folder, { recursive: true, verbatimSymlinks: true });
      const resumed = await resume(configuration, folder, point);
      problems.push(...compare(whole, resumed, point).map((what) => `from ${point.file}: ${what}`));
    }
    return { points: whole.points.length, tried: chosen.length, problems };
  } finally {
    rmSync(root, { recursive: true });
  }
}

function here(configuration: Configuration, folder: string, from: SavePoint): Promise<RecordedRun> {
  return recordedRun(configuration, { folder, copies: undefined, from });
}

/** As {@link stopAnywhere} resumes by itself, but in a process of its own. */
export async function inNewProcess(
  configuration: Configuration,
  folder: string,
  from: SavePoint,
): Promise<RecordedRun> {
  const script = fileURLToPath(new URL('./resume-process.ts', import.meta.url));
  const given = JSON.stringify({ configuration, folder, from });
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, ['--import', 'tsx', script, given], {
    maxBuffer: 2 ** 28,
  });
  return { ...JSON.parse(stdout), files: filesIn(folder), points: [] };
}

function compare(whole: RecordedRun, resumed: RecordedRun, point: SavePoint): string[] {
  const problems: string[] = [];
  const rest = whole.events.slice(startOf(whole, point));
  // After the last epoch nothing is left to train: the run is over, as in Lightning, and no hook runs.
  const isOver = !point.isInside && rest[0]?.startsWith('onTrainEnd') === true;
  const expected = isOver ? [] : rest;
  const at = expected.findIndex((event, i) => event !== resumed.events[i]);
  if (at !== -1) {
    problems.push(
      `event ${at} of ${expected.length} differs:\n${difference(expected[at], resumed.events[at])}`,
    );
  } else if (resumed.events.length > expected.length) {
    problems.push(`${resumed.events[expected.length]?.split('\n')[0]} is one event too many`);
  }
  if (whole.end !== resumed.end) problems.push(`the end differs: ${whole.end} ${resumed.end}`);
  for (const path of new Set([...whole.files.keys(), ...resumed.files.keys()])) {
    // Earlier points are not put back.
    if (path.startsWith('points/') && (isOver || point.isInside || path < point.file)) continue;
    const [before, after] = [whole, resumed].map(({ files }) => {
      // A journal tells the time of day of each line.
      const isJournal = path.endsWith('/history.jsonl');
      const file = isJournal ? files.get(path)?.replaceAll(TIME, '') : files.get(path);
      return (point.isInside || isOver) && path.endsWith('.ckpt') ? withoutCounts(file) : file;
    });
    if (before === after) continue;
    problems.push(`${path} differs:\n${difference(before, after)}`);
  }
  const isNew = (text: string): boolean => !whole.warnings.includes(text);
  problems.push(...resumed.warnings.filter((text) => isNew(text) && !/cannot be exact/.test(text)));
  return problems;
}

/** Where a run goes on that was saved in the middle of something: that is run again from its beginning. */
const AGAIN_FROM: Readonly<Record<string, string>> = {
  onAfterBackward: 'onTrainBatchStart',
  onBeforeOptimizerStep: 'onTrainBatchStart',
  onValidationBatchEnd: 'onValidationStart',
  onValidationEpochEnd: 'onValidationStart',
};

/** The first event that a resumed run must have: what comes next, or what it was saved in. */
function startOf({ events }: RecordedRun, { hook, isInside, events: before }: SavePoint): number {
  if (!isInside) return before;
  const begin = `${AGAIN_FROM[hook] ?? hook}[`;
  return events.findLastIndex((event, i) => i < before && event.startsWith(begin));
}

/**
 * What a checkpoint holds but the number of saves, and what the module counts itself: a hook that is run again
 * saves and counts again.
 */
function withoutCounts(file: string | undefined): string | undefined {
  if (file === undefined || file.startsWith('->')) return file;
  const { document, tensors } = readCheckpoint(Buffer.from(file, 'latin1'));
  const { sequence: _, seen: _seen, callbacks, ...rest } = document ?? {};
  const { SavePoints: __, ...states } = callbacks as JsonObject;
  const own = tensors.filter(({ group }) => group !== 'extra');
  const bytes = own.map((tensor) => [
    tensor.group,
    tensor.name,
    Buffer.from(tensor.bytes).toString('hex'),
  ]);
  return JSON.stringify([rest, states, bytes], (_, value) =>
    typeof value === 'number' ? String(value) : value,
  );
}

function difference(expected: string | undefined, found: string | undefined): string {
  if (expected === undefined || found === undefined) {
    return expected === undefined
      ? `  only resumed: ${head(found)}`
      : `  missing: ${head(expected)}`;
  }
  let at = 0;
  while (at < expected.length && expected[at] === found[at]) at++;
  const around = (text: string): string =>
    JSON.stringify(text.slice(Math.max(0, at - 60), at + 60));
  return `  at ${at}: ${around(expected)}\n  resumed: ${around(found)}`;
}

function head(text: string | undefined): string {
  return JSON.stringify(text?.slice(0, 120));
}
