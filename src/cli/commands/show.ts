import { basename } from 'node:path/posix';
import {
  type Inspection,
  inspect,
  inspectTensor,
  type TensorInfo,
  type TensorInspection,
} from '../../inspection/index.ts';
import { sizeText } from '../../size-text.ts';
import { type Command, defineCommand } from '../command.ts';
import { documentLines } from '../document-lines.ts';
import { jsonText } from '../json.ts';
import {
  type Cell,
  count,
  histogram,
  indented,
  number,
  type Paint,
  pairs,
  table,
} from '../render.ts';
import { shownPath } from '../shown-path.ts';

/** How wide the bars of a histogram are, in columns. */
const BAR_COLUMNS = 40;

export const show: Command = defineCommand({
  name: 'show',
  summary: 'show what a checkpoint holds: scores, hyper-parameters, callbacks, tensors',
  usage: '<file> [options]',
  description:
    'Reads the header only, whatever the size of the file. With --tensor that tensor is read and verified.',
  options: {
    tensor: {
      type: 'string',
      value: 'NAME',
      description: 'statistics and a histogram of one tensor',
    },
  },
  operands: { least: 1, most: 1 },
  examples: [
    ['highwater show runs/digits/checkpoints/last.ckpt', 'everything'],
    ['highwater show last.ckpt --tensor fc1.kernel', 'minimum, maximum, mean, NaNs… of a weight'],
    [`highwater show last.ckpt --json | jq .hyperParameters`, 'for a program'],
  ],
  async run({ values, operands: [path = ''], json }, { print, paint }) {
    if (values.tensor !== undefined) {
      const tensor = await inspectTensor(path, values.tensor);
      print(json ? jsonText(tensor) : tensorText(tensor, paint));
    } else {
      const inspection = await inspect(path);
      print(json ? jsonText(inspection) : inspectionText(inspection, paint));
    }
    return 0;
  },
});

function inspectionText(inspection: Inspection, paint: Paint): string {
  const { path, sizeBytes, state, metrics, hyperParameters, callbacks, tensors } = inspection;
  const parts = [
    `${paint('bold', shownPath(path))}  ${paint('dim', `${sizeText(sizeBytes)}, ${state}`)}`,
    pairs(facts(inspection), paint),
  ];
  const add = (title: string, body: string): void => {
    if (body !== '') parts.push(`${paint('bold', title)}\n${body}`);
  };
  const { globalStep } = inspection;
  add(
    'Metrics',
    pairs(
      metrics.map(({ name, value, loggedFor }) => [
        name,
        `${number(value)}${loggedFor === globalStep ? '' : `  of step ${loggedFor}`}`,
      ]),
      paint,
    ),
  );
  add('Hyper-parameters', pairs(documentLines(hyperParameters), paint));
  for (const [key, state] of Object.entries(callbacks)) {
    add(`Callback ${shortKey(key)}`, pairs(documentLines(state ?? null), paint));
  }
  add('Tensors', tensorTable(tensors, paint));
  parts.push(totals(inspection));
  return parts.filter((part) => part !== '').join('\n\n');
}

function facts(inspection: Inspection): (readonly [string, Cell | string])[] {
  const { epoch, globalStep, score, names, version, engine, formatVersion } = inspection;
  const rows: (readonly [string, Cell | string])[] = [];
  if (epoch !== null) rows.push(['epoch', String(epoch)]);
  if (globalStep !== null) rows.push(['step', String(globalStep)]);
  if (score !== null) {
    const better = score.mode === 'min' ? 'low' : 'high';
    rows.push([
      score.monitor,
      { text: `${number(score.value)} (${better} is better)`, style: 'green' },
    ]);
  }
  names.forEach(({ path, role }, i) => {
    rows.push([i === 0 ? 'saved as' : '', `${basename(path)} (${roleText(role)})`]);
  });
  const { averageOf } = inspection.document ?? {};
  if (Array.isArray(averageOf)) rows.push(['average of', averageOf.join(', ')]);
  if (version !== null) {
    rows.push([
      'written by',
      `Highwater ${version}, ${engine ?? 'unknown'} engine, format ${formatVersion}`,
    ]);
  }
  return rows;
}

function roleText(role: string): string {
  return role === 'topK' ? 'ranked' : role;
}

/** The name of the class, and what makes this one different from its siblings. */
function shortKey(key: string): string {
  const [, name = key, options] = /^([\w$]+)(\{.*\})/s.exec(key) ?? [];
  if (options === undefined) return name;
  try {
    const given = Object.entries(JSON.parse(options) as object).filter(
      ([, value]) => value !== null && value !== 0,
    );
    return [name, ...given.map(([option, value]) => `${option}=${String(value)}`)].join(' ');
  } catch {
    return key;
  }
}

function tensorTable(tensors: readonly TensorInfo[], paint: Paint): string {
  if (tensors.length === 0) return '';
  const columns = [
    { title: 'name' },
    { title: 'shape' },
    { title: 'dtype' },
    { title: 'size', align: 'right' },
  ] as const;
  const rows = tensors.map(({ group, name, shape, dtype, sizeBytes }): (Cell | string)[] => [
    {
      text: group === 'model' ? name : `${group}/${name}`,
      style: group === 'model' ? undefined : 'dim',
    },
    shapeText(shape),
    dtype,
    sizeText(sizeBytes),
  ]);
  return indented(table(columns, rows, paint));
}

function totals({ totals }: Inspection): string {
  return totals
    .map(({ group, tensors, elements, sizeBytes }) => {
      const name = group === 'model' ? 'weights' : group;
      return `${name}: ${count(tensors, 'tensor')}, ${count(elements, 'element')}, ${sizeText(sizeBytes)}`;
    })
    .join('\n');
}

function tensorText(tensor: TensorInspection, paint: Paint): string {
  const { group, name, dtype, shape, sizeBytes, statistics, histogram: found } = tensor;
  const spelled = pairs(
    [['', group === 'model' ? name : `${group}/${name}`]],
    (_, text) => text,
  ).trim();
  const { count: elements, nanCount, infinityCount, zeroCount, min, max, mean, std } = statistics;
  const bad = (amount: number): Cell => ({
    text: amount.toLocaleString('en-US'),
    style: amount > 0 ? 'red' : undefined,
  });
  const rows: (readonly [string, Cell | string])[] = [
    ['elements', elements.toLocaleString('en-US')],
    ['min', number(min)],
    ['max', number(max)],
    ['mean', number(mean)],
    ['std', number(std)],
    ['zeros', zeroCount.toLocaleString('en-US')],
    ['NaN', bad(nanCount)],
    ['infinite', bad(infinityCount)],
  ];
  const heading = `${paint('bold', spelled)}  ${paint('dim', `${dtype} ${shapeText(shape)}, ${sizeText(sizeBytes)}`)}`;
  const parts = [heading, pairs(rows, paint)];
  if (found !== null) parts.push(histogram(found, BAR_COLUMNS));
  return parts.join('\n\n');
}

function shapeText(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join('×');
}
