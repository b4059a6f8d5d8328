import { averageCheckpoints } from '../../inspection/index.ts';
import { sizeText } from '../../size-text.ts';
import { type Command, defineCommand, Misuse } from '../command.ts';
import { sayForce } from '../conversion-options.ts';
import { jsonText } from '../json.ts';
import { count } from '../render.ts';
import { shownPath } from '../shown-path.ts';

export const average: Command = defineCommand({
  name: 'average',
  summary: 'write the mean of the weights of several checkpoints (a model soup)',
  usage: '<files…> -o <file> [options]',
  description:
    'The weights must have the same names, shapes and dtypes. Sums are float64; what is not a float must be equal.\n' +
    'The result is a weights-only checkpoint: load it with loadFromCheckpoint.',
  options: {
    output: { type: 'string', short: 'o', value: 'FILE', description: 'what to write' },
    force: { type: 'boolean', short: 'f', description: 'replace FILE if it is there' },
  },
  operands: { least: 2, most: Number.POSITIVE_INFINITY },
  examples: [
    ['highwater average epoch=3.ckpt epoch=4.ckpt -o soup.ckpt', 'the mean of two'],
    [
      `highwater average $(highwater ls runs/a --json | jq -r '.[] | select(.rank) | .path') -o soup.ckpt`,
      'of all that are ranked',
    ],
  ],
  async run({ values, operands, json }, { print }) {
    if (values.output === undefined)
      throw new Misuse('average needs to know what to write: -o FILE.');
    const replace = values.force === true;
    const outcome = await averageCheckpoints(operands, values.output, { replace }).catch(sayForce);
    const { path, sizeBytes, tensors } = outcome;
    print(
      json
        ? jsonText(outcome)
        : `${shownPath(path)}: the mean of ${count(operands.length, 'checkpoint')}, ` +
            `${count(tensors, 'tensor')}, ${sizeText(sizeBytes)}`,
    );
    return 0;
  },
});
