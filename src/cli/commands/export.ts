import { exportNpz, exportSafetensors, exportTfjs } from '../../interop/index.ts';
import { exportTorch } from '../../interop/torch/index.ts';
import { choiceOf } from '../arguments.ts';
import { type Command, defineCommand, Misuse } from '../command.ts';
import { CONVERSION, conversionOf, sayForce } from '../conversion-options.ts';
import { jsonText } from '../json.ts';
import { shownPath } from '../shown-path.ts';

const FORMATS = ['safetensors', 'npz', 'tfjs', 'torch'] as const;
const LAYOUTS = ['state_dict', 'lightning'] as const;

/** What the new file's name ends in, unless a name is given. */
const EXTENSIONS: Readonly<Record<(typeof FORMATS)[number], string>> = {
  safetensors: '.safetensors',
  npz: '.npz',
  tfjs: '.json',
  torch: '.pt',
};

const EXPORTS = { safetensors: exportSafetensors, npz: exportNpz, tfjs: exportTfjs };

export const exportCommand: Command = defineCommand({
  name: 'export',
  summary: 'write the weights of a checkpoint for other tools',
  usage: '<file> --to FORMAT [-o <file>] [options]',
  description:
    'safetensors: any reader. npz: numpy.load. tfjs: a model.json with its weights beside it. torch:\n' +
    'torch.load(weights_only=True); with --layout lightning also LightningModule.load_from_checkpoint.\n' +
    'Names and layouts stay as they are unless you say otherwise.',
  options: {
    to: { type: 'string', value: 'FORMAT', description: FORMATS.join(', ') },
    output: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      description:
        'the file to write (default: beside the checkpoint, with the extension of the format)',
    },
    layout: {
      type: 'string',
      value: 'LAYOUT',
      description: `for torch: ${LAYOUTS.join(' or ')} (default state_dict)`,
    },
    ...CONVERSION,
  },
  operands: { least: 1, most: 1 },
  examples: [
    ['highwater export best.ckpt --to npz', 'best.npz, beside it'],
    ['highwater export best.ckpt --to tfjs -o site/model.json', "TensorFlow.js's own files"],
    [
      "highwater export best.ckpt --to torch -o best.pt --rename '*.kernel=*.weight' --axes '*.kernel=IO->OI'",
      'a state dict for PyTorch',
    ],
  ],
  async run({ values, operands, json }, terminal) {
    const from = operands[0] as string;
    if (values.to === undefined) throw new Misuse(`export needs --to: ${FORMATS.join(', ')}.`);
    const format = choiceOf('to', values.to, FORMATS);
    const { layout } = values;
    if (layout !== undefined && format !== 'torch') {
      throw new Misuse(`--layout is for --to torch, not for --to ${format}.`);
    }
    const output = values.output ?? from.replace(/\.ckpt$|$/, EXTENSIONS[format]);
    const options = { ...conversionOf(values), replace: values.force ?? false };
    const written =
      format === 'torch'
        ? exportTorch(from, output, {
            ...options,
            ...(layout !== undefined && { layout: choiceOf('layout', layout, LAYOUTS) }),
          })
        : EXPORTS[format](from, output, options);
    await written.catch(sayForce);
    terminal.print(json ? jsonText({ path: from, format, output }) : shownPath(output));
    return 0;
  },
});
