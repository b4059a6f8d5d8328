import { importTorch, type TorchCheckpoint } from '../../interop/torch/index.ts';
import { sizeText } from '../../size-text.ts';
import { type Command, defineCommand } from '../command.ts';
import { CONVERSION, conversionOf, itemsOf, sayForce } from '../conversion-options.ts';
import { documentLines } from '../document-lines.ts';
import { jsonText } from '../json.ts';
import { count, pairs, printable, table } from '../render.ts';
import { shownPath } from '../shown-path.ts';
import type { Terminal } from '../terminal.ts';

export const importCommand: Command = defineCommand({
  name: 'import',
  summary: 'turn a file of PyTorch or Lightning into a checkpoint, running nothing of it',
  usage: '<file> [-o <file.ckpt>] [options]',
  description:
    'Reads .pt, .pth and .ckpt files of torch.save (PyTorch 1.6 and later). Without -o it shows what the file\n' +
    'holds, and reads no weight. A file that asks for anything but values and tensors is refused, by name and byte.',
  options: {
    output: { type: 'string', short: 'o', value: 'FILE', description: 'the checkpoint to write' },
    ...CONVERSION,
    'state-dict': {
      type: 'string',
      value: 'KEY',
      description: 'where the weights are, in a file that holds more: model',
    },
    allow: {
      type: 'string',
      value: 'NAME,…',
      description: 'classes whose objects are read as inert values: my_package.Config',
    },
  },
  operands: { least: 1, most: 1 },
  examples: [
    ['highwater import trained.ckpt', 'what a file of Lightning holds'],
    ['highwater import trained.pt -o trained.ckpt', 'a checkpoint with the same names and layouts'],
    [
      "highwater import trained.pt -o trained.ckpt --rename '*.weight=*.kernel' --axes '*.weight=OI->IO'",
      'as the dense layers of TensorFlow.js have them',
    ],
  ],
  async run({ values, operands, json }, terminal) {
    const { output, force = false, allow } = values;
    const found = await importTorch(operands[0] as string, {
      ...conversionOf(values),
      stateDict: values['state-dict'],
      ...(allow !== undefined && { allow: itemsOf(allow) }),
    });
    for (const line of found.leftOut) terminal.note(`left out: ${printable(line)}`);
    if (output === undefined) {
      if (json) terminal.print(jsonText(listed(found)));
      else show(found, terminal);
      return 0;
    }
    const sizeBytes = await found.save(output, { replace: force }).catch(sayForce);
    if (json) terminal.print(jsonText({ ...listed(found), output, sizeBytes }));
    else {
      const { length } = found.weights;
      terminal.print(`${shownPath(output)}: ${count(length, 'weight')}, ${sizeText(sizeBytes)}`);
    }
    return 0;
  },
});

/** What `--json` promises. */
function listed(found: TorchCheckpoint): object {
  const { path, savedBy, epoch, globalStep, hyperParameters, weights, leftOut } = found;
  return { path, savedBy, epoch, globalStep, hyperParameters, weights, leftOut };
}

function show(found: TorchCheckpoint, { print, paint }: Terminal): void {
  const { path, savedBy, epoch, globalStep, hyperParameters, weights, sizeBytes } = found;
  const step = savedBy === 'lightning' ? `, epoch ${epoch}, step ${globalStep}` : '';
  print(`${paint('bold', shownPath(path))}  ${savedBy}, ${sizeText(sizeBytes)}${step}`);
  if (Object.keys(hyperParameters).length > 0) {
    print(`${paint('bold', 'Hyper-parameters')}\n${pairs(documentLines(hyperParameters), paint)}`);
  }
  print(
    table(
      [{ title: 'weight' }, { title: 'dtype' }, { title: 'shape' }],
      weights.map(({ name, dtype, shape }) => [name, dtype, `[${shape.join(', ')}]`]),
      paint,
    ),
  );
}
