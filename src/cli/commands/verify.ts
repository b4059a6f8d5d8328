import { type Verification, verify as verifyFiles } from '../../inspection/index.ts';
import { sizeText } from '../../size-text.ts';
import { type Command, defineCommand } from '../command.ts';
import { jsonText } from '../json.ts';
import { count, printable } from '../render.ts';
import { shownPath } from '../shown-path.ts';
import type { Terminal } from '../terminal.ts';

export const verify: Command = defineCommand({
  name: 'verify',
  summary: 'check every checksum of a file, or of all checkpoints in a folder',
  usage: '<file|folder> [options]',
  description:
    'Reads every byte. Exit code 1 when anything is damaged or cannot be read. A safetensors file of another\n' +
    'tool has no checksums: only its structure is checked.',
  options: {},
  operands: { least: 1, most: 1 },
  examples: [
    ['highwater verify runs/digits/checkpoints/last.ckpt', 'one file'],
    ['highwater verify runs', 'every checkpoint below a folder'],
  ],
  async run({ operands: [path = ''], json }, terminal) {
    const found: Verification[] = [];
    const began = terminal.now();
    const onProgress = (progress: { bytesDone: number; bytes: number; path: string }): void => {
      const { bytesDone, bytes } = progress;
      const share = bytes === 0 ? 100 : Math.floor((100 * bytesDone) / bytes);
      terminal.progress(
        `${share} %  ${sizeText(bytesDone)} of ${sizeText(bytes)}  ${shownPath(progress.path)}`,
      );
    };
    for await (const file of verifyFiles(path, { onProgress })) {
      found.push(file);
      if (!json) terminal.print(fileText(file, terminal));
      if (terminal.isClosed) break;
    }
    if (json) terminal.print(jsonText(found));
    else terminal.print(summaryText(found, terminal.now() - began, terminal));
    return found.every(({ isSound }) => isSound) ? 0 : 1;
  },
});

function fileText(file: Verification, { paint }: Terminal): string {
  const { path, isSound, state, problems, tensors } = file;
  if (!isSound) {
    const lines = problems.map((problem) => `    ${printable(problem)}`);
    return [
      `${paint(state === 'foreign' ? 'dim' : 'red', state)}  ${shownPath(path)}`,
      ...lines,
    ].join('\n');
  }
  const what = state === 'foreign' ? 'has no checksums' : `${count(tensors, 'checksum')} match`;
  return `${paint('green', 'ok')}  ${shownPath(path)}  ${paint('dim', `${state}, ${what}`)}`;
}

function summaryText(
  found: readonly Verification[],
  durationMs: number,
  { paint }: Terminal,
): string {
  const bytes = found.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const bad = found.filter(({ isSound }) => !isSound).length;
  const seconds = (durationMs / 1000).toFixed(1);
  if (found.length === 0) return 'No checkpoints to verify.';
  const verdict =
    bad === 0 ? paint('green', 'all whole') : paint('red', `${bad} of ${found.length} not whole`);
  return `${verdict}: ${count(found.length, 'file')}, ${sizeText(bytes)}, in ${seconds} s`;
}
