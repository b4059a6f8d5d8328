/** What the batches that are counted are for. */
export type ProgressStage = 'sanity' | 'train' | 'validate' | 'test' | 'predict';

/** Everything a line of progress shows. */
export interface ProgressView {
  readonly stage: ProgressStage;
  /** 0-based, as in file names. Shown while training and validating. */
  readonly epoch: number;
  /** Epochs at most; absent or Infinity: without limit. */
  readonly maxEpochs?: number | undefined;
  /** Batches done: of this epoch while training, of this run of the loop in the other stages. */
  readonly batch: number;
  /** Batches there will be; absent or Infinity when that is not known. */
  readonly batches?: number | undefined;
  /** Batches of `batch` that were done before `elapsedMs` began, by the run resumed from. Default 0. */
  readonly firstBatch?: number | undefined;
  /** Milliseconds since the stage, or the epoch of training, began here. */
  readonly elapsedMs: number;
  /** Optimizer steps taken. Shown while training and validating. */
  readonly globalStep: number;
  /** The metrics to show, in this order. */
  readonly metrics: Readonly<Record<string, number>>;
  /** A checkpoint is being written behind training. */
  readonly saving: boolean;
}

/** How {@link renderProgress} writes. */
export interface RenderOptions {
  /** Width of the terminal, at least 1: a bar fills what is free, and what does not fit is left out. */
  readonly columns?: number | undefined;
  /** With the escape sequences of colours, which take no width. Default false. */
  readonly hasColor?: boolean | undefined;
}

type Colour = 'cyan' | 'yellow' | 'dim';

interface Part {
  readonly text: string;
  readonly colour?: Colour;
}

const GAP = '  ';
const LONGEST_BAR = 30;
const SHORTEST_BAR = 8;
const COLOURS: Readonly<Record<Colour, readonly [string, string]>> = {
  cyan: ['\u001b[36m', '\u001b[39m'],
  yellow: ['\u001b[33m', '\u001b[39m'],
  dim: ['\u001b[2m', '\u001b[22m'],
};
const LABELS: Readonly<Record<ProgressStage, string>> = {
  sanity: 'Sanity check',
  train: '',
  validate: 'validation',
  test: 'Test',
  predict: 'Prediction',
};

/**
 * Progress as one line without line break: the epoch, the batches done, the optimizer step, the rate, the
 * time left (or, at the end, the time taken), the metrics, and `saving` while a save is in flight. With
 * `columns` it has a bar, and never more characters than that; metrics are the first to be left out.
 *
 * `Epoch 0/9  ━━━━━━━━━─────────────  450/1000  step 450  35.6 it/s  0:15 left  loss 0.1234`
 */
export function renderProgress(view: ProgressView, options: RenderOptions = {}): string {
  const { columns, hasColor = false } = options;
  const parts = [
    { text: headOf(view) },
    { text: countOf(view) },
    ...stepOf(view),
    ...timesOf(view),
    ...(view.saving ? [{ text: 'saving', colour: 'yellow' } as const] : []),
    ...Object.entries(view.metrics).map(([name, value]) => ({
      text: `${printable(name)} ${formatMetric(value)}`,
    })),
  ];
  const fitting = columns === undefined ? parts : withBar(fit(parts, columns), view, columns);
  return fitting.map((part) => (hasColor ? coloured(part) : part.text)).join(GAP);
}

/** Hours, minutes and seconds, rounded to seconds: `0:07`, `12:05`, `1:02:03`, `49:00:00`. */
export function formatElapsed(elapsedMs: number): string {
  const total = Math.round(elapsedMs / 1000);
  const seconds = String(total % 60).padStart(2, '0');
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600);
  if (hours === 0) return `${minutes}:${seconds}`;
  return `${hours}:${String(minutes).padStart(2, '0')}:${seconds}`;
}

function headOf({ stage, epoch, maxEpochs }: ProgressView): string {
  const label = LABELS[stage];
  if (stage !== 'train' && stage !== 'validate') return label;
  // The last epoch, as epochs are counted from 0.
  const last = isKnown(maxEpochs) ? `/${Math.max(maxEpochs - 1, epoch)}` : '';
  return `Epoch ${epoch}${last}${label === '' ? '' : ` ${label}`}`;
}

function countOf({ batch, batches }: ProgressView): string {
  return isKnown(batches) ? `${batch}/${batches}` : `${batch} batches`;
}

function stepOf({ stage, globalStep }: ProgressView): Part[] {
  return stage === 'train' || stage === 'validate' ? [{ text: `step ${globalStep}` }] : [];
}

function timesOf({ batch, batches, firstBatch = 0, elapsedMs }: ProgressView): Part[] {
  const done = batch - firstBatch;
  if (!(done > 0 && elapsedMs > 0)) return [];
  const rate: Part = { text: formatRate((done * 1000) / elapsedMs) };
  if (!isKnown(batches)) return [rate];
  const left = batches - batch;
  const time =
    left > 0
      ? `${formatElapsed((left * elapsedMs) / done)} left`
      : `in ${formatElapsed(elapsedMs)}`;
  return [rate, { text: time, colour: 'dim' }];
}

/** Three digits; a slow rate as its reciprocal. */
function formatRate(perSecond: number): string {
  return perSecond < 1 ? `${threeDigits(1 / perSecond)} s/it` : `${threeDigits(perSecond)} it/s`;
}

function threeDigits(value: number): string {
  return value < 1000 ? value.toPrecision(3) : String(Math.round(value));
}

/** Four digits, so that a line does not jump about. */
function formatMetric(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (size < 1e6 && Number.isInteger(value)) return String(value);
  return size >= 1000 && size < 1e6 ? value.toFixed(1) : value.toPrecision(4);
}

/** Names may hold anything; a control character would move the cursor. */
function printable(name: string): string {
  return name.replace(/\p{Cc}/gu, ' ');
}

/** The parts before the first that does not fit, and as much of the very first as does. */
function fit(parts: readonly Part[], columns: number): Part[] {
  const fitting: Part[] = [];
  let free = columns;
  for (const part of parts) {
    free -= widthOf(part.text) + (fitting.length === 0 ? 0 : GAP.length);
    if (free < 0) break;
    fitting.push(part);
  }
  const [head] = parts;
  if (fitting.length > 0 || head === undefined) return fitting;
  return [{ ...head, text: Array.from(head.text).slice(0, columns).join('') }];
}

/** Puts a bar behind the head, if the number of batches is known and there is room. */
function withBar(parts: readonly Part[], view: ProgressView, columns: number): readonly Part[] {
  const [head, ...rest] = parts;
  if (head === undefined || !isKnown(view.batches)) return parts;
  const taken = parts.reduce((sum, part) => sum + widthOf(part.text) + GAP.length, 0);
  const length = Math.min(columns - taken, LONGEST_BAR);
  if (length < SHORTEST_BAR) return parts;
  const share = view.batches === 0 ? 1 : Math.min(view.batch / view.batches, 1);
  const filled = Math.floor(share * length);
  const bar: Part = { text: '━'.repeat(filled) + '─'.repeat(length - filled), colour: 'cyan' };
  return [head, bar, ...rest];
}

function coloured({ text, colour }: Part): string {
  if (colour === undefined) return text;
  const [on, off] = COLOURS[colour];
  return on + text + off;
}

function widthOf(text: string): number {
  return Array.from(text).length;
}

function isKnown(count: number | undefined): count is number {
  return count !== undefined && Number.isFinite(count);
}
