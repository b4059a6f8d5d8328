import {
  type Difference,
  diff as diffFiles,
  type MetadataChange,
  type TensorChange,
  type TensorForm,
} from '../../inspection/index.ts';
import { type Command, defineCommand } from '../command.ts';
import { valueText } from '../document-lines.ts';
import { jsonText } from '../json.ts';
import { type Cell, count, indented, number, type Paint, type Style, table } from '../render.ts';

/** How much of a value is shown beside another, in characters. */
const SHOWN = 36;

export const diff: Command = defineCommand({
  name: 'diff',
  summary:
    'show what changed between two checkpoints: metadata and tensors, the most changed first',
  usage: '<a> <b> [options]',
  description:
    'relative: the norm of the change by the norm of the tensor in a. Exit code 1 when they differ, 0 when not.\n' +
    'The names that a checkpoint was saved under are not compared. Tensors with the same checksum are not read.',
  options: { weights: { type: 'boolean', description: 'compare the weights only' } },
  operands: { least: 2, most: 2 },
  examples: [
    ['highwater diff epoch=3-step=564.ckpt last.ckpt', 'from an earlier checkpoint to a later one'],
  ],
  async run({ values, operands: [a = '', b = ''], json }, { print, paint }) {
    const difference = await diffFiles(a, b, { weightsOnly: values.weights === true });
    print(json ? jsonText(difference) : differenceText(difference, paint));
    return difference.isSame ? 0 : 1;
  },
});

function differenceText(difference: Difference, paint: Paint): string {
  const { isSame, metadata, tensors, sameTensors } = difference;
  const all = sameTensors + tensors.length;
  if (isSame) return `No difference in ${count(all, 'tensor')}.`;
  const parts: string[] = [];
  if (metadata.length > 0) {
    parts.push(`${paint('bold', 'Metadata')}\n${metadataTable(metadata, paint)}`);
  }
  if (tensors.length > 0) {
    parts.push(`${paint('bold', 'Tensors')}\n${tensorTable(tensors, paint)}`);
  }
  parts.push(`${sameTensors} of ${count(all, 'tensor')} the same`);
  return parts.join('\n\n');
}

const STYLES: Readonly<Record<TensorChange['change'], Style | undefined>> = {
  added: 'green',
  removed: 'red',
  reshaped: 'yellow',
  changed: undefined,
};

function metadataTable(changes: readonly MetadataChange[], paint: Paint): string {
  const rows = changes.map(({ name, change, before, after }): (Cell | string)[] => [
    { text: shortName(name), style: STYLES[change] },
    change === 'added' ? '-' : shown(before),
    change === 'removed' ? '-' : shown(after),
  ]);
  return indented(table([{ title: 'name' }, { title: 'a' }, { title: 'b' }], rows, paint));
}

/** Without the options that a callback's key holds. */
function shortName(name: string): string {
  return name.replace(/^(callbacks\.[\w$]+)\{.*\}(#\d+)?\./s, '$1$2.');
}

function shown(value: unknown): string {
  const text = valueText(value);
  if (text.length > SHOWN && Array.isArray(value)) return count(value.length, 'item');
  return text.length > SHOWN ? `…${text.slice(1 - SHOWN)}` : text;
}

function tensorTable(changes: readonly TensorChange[], paint: Paint): string {
  const columns = [
    { title: 'name' },
    { title: 'change' },
    { title: 'relative', align: 'right' },
    { title: 'max |b - a|', align: 'right' },
    { title: 'elements', align: 'right' },
  ] as const;
  const rows = changes.map(
    ({ group, name, change, before, after, difference }): (Cell | string)[] => [
      group === 'model' ? name : `${group}/${name}`,
      {
        text: change === 'reshaped' ? `${form(before)} to ${form(after)}` : change,
        style: STYLES[change],
      },
      difference === null ? '' : number(difference.relativeNorm),
      difference === null ? '' : number(difference.maxAbs),
      difference === null ? '' : elements(difference),
    ],
  );
  return indented(table(columns, rows, paint));
}

function elements(difference: NonNullable<TensorChange['difference']>): string {
  const { changedCount, count: all, incomparableCount } = difference;
  const bad = incomparableCount === 0 ? '' : `, ${incomparableCount} NaN or infinite`;
  return `${changedCount.toLocaleString('en-US')} of ${all.toLocaleString('en-US')}${bad}`;
}

function form(tensor: TensorForm | null): string {
  return tensor === null ? '' : `${tensor.dtype} ${tensor.shape.join('×') || 'scalar'}`;
}
