import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { pythonWithTorch } from '../../support/python-torch.ts';

const python = pythonWithTorch();
const folder = mkdtempSync(join(tmpdir(), 'highwater-from-python-'));
afterAll(() => rmSync(folder, { recursive: true }));

const examples = [
  'examples/from-python/circle.py',
  'examples/from-python/train.py',
  'examples/from-python.ts',
  'examples/from-python/predict.py',
];

it('the guide shows its examples as they are', () => {
  const text = readFileSync('docs/guides/from-python.md', 'utf8');
  const blocks = [...text.matchAll(/^```(?:ts|py)\n(.*?)^```$/gms)].map(([, block]) => block);
  expect(blocks).toEqual(examples.map((file) => readFileSync(file, 'utf8')));
});

async function run(command: string, ...args: string[]): Promise<string> {
  const env = { ...process.env, TSX_TSCONFIG_PATH: resolve('tsconfig.json') };
  const { stdout } = await promisify(execFile)(command, args, { cwd: folder, env });
  return stdout;
}

it.skipIf(python === undefined)(
  'a model goes from Python to TypeScript and back, with the same predictions',
  async () => {
    cpSync('examples/from-python', folder, { recursive: true });
    const first = await run(python as string, '-W', 'ignore', 'train.py');
    const here = await run(
      process.execPath,
      '--import',
      import.meta.resolve('tsx'),
      resolve('examples/from-python.ts'),
    );
    const again = await run(python as string, '-W', 'ignore', 'predict.py');
    const lossIn = (output: string, what: string): number =>
      Number(new RegExp(`^${what}: loss (\\d\\.\\d{6})$`, 'm').exec(output)?.[1]);
    const trained = lossIn(first, 'Python trained');
    expect(lossIn(here, 'TypeScript begins')).toBeCloseTo(trained, 5);
    const better = lossIn(here, 'TypeScript trained');
    expect(better).toBeLessThan(trained);
    expect(lossIn(again, 'Python again')).toBeCloseTo(better, 5);
    const predictionsIn = (output: string): number[] =>
      JSON.parse(output.trim().split('\n').at(-1) ?? '') as number[];
    const [ours, theirs] = [predictionsIn(here), predictionsIn(again)];
    expect(ours).toHaveLength(5);
    for (const [i, value] of ours.entries()) expect(value).toBeCloseTo(theirs[i] as number, 4);
  },
);
