import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { FloatModule } from '../examples/own-engine/float-module.ts';
import { engineContract } from '../src/testing/engine-contract.ts';

const folder = mkdtempSync(join(tmpdir(), 'highwater-guides-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs an example in an empty folder; what it printed. */
async function run(example: string): Promise<string> {
  const tsx = import.meta.resolve('tsx');
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', tsx, resolve('examples', `${example}.ts`)],
    { cwd: folder, env: { ...process.env, TSX_TSCONFIG_PATH: resolve('tsconfig.json') } },
  );
  return stdout;
}

it.each([
  ['model-fit', ['examples/model-fit.ts']],
  ['own-engine', ['examples/own-engine/float-module.ts', 'examples/own-engine.ts']],
])('the guide %s shows its examples as they are', (guide, examples) => {
  const text = readFileSync(`docs/guides/${guide}.md`, 'utf8');
  const blocks = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block]) => block);
  expect(blocks).toEqual(examples.map((file) => readFileSync(file, 'utf8')));
});

it('model.fit with one line keeps the best, and goes on when it is run again', async () => {
  const first = await run('model-fit');
  expect(first).toMatch(/runs\/model-fit\/epoch=\d+-step=\d+\.ckpt 0\.\d+/);
  const second = await run('model-fit');
  expect(second).toMatch(/^restored .*\.ckpt; go on with epoch 5$/m);
  const scoreIn = (output: string): number => Number(/\.ckpt (0\.\d+)/.exec(output)?.[1]);
  expect(scoreIn(second)).toBeLessThanOrEqual(scoreIn(first));
}, 60_000);

it('an engine of your own trains, and knows when it is done', async () => {
  expect(await run('own-engine')).toMatch(/\.ckpt 0\.\d+/);
  expect(await run('own-engine')).toMatch(/^resumed from .*; nothing left to train$/m);
}, 60_000);

it('takes less than 100 lines', () => {
  const lines = readFileSync('examples/own-engine/float-module.ts', 'utf8').split('\n');
  expect(lines.length - 1).toBeLessThan(100);
});

describe.each([0, 0.9])('with momentum %s', (momentum) => {
  class Line extends FloatModule<number> {
    constructor() {
      super();
      this.arrays.model.set('a', Float32Array.of(0.1, -0.2));
      this.arrays.model.set('b', Float32Array.of(0.3, 0.4));
    }
    trainingStep(seed: number) {
      if (Number.isNaN(seed)) throw new RangeError('a broken batch');
      const [a, b] = [...this.arrays.model.values()];
      const x = [Math.sin(seed), Math.cos(seed)];
      const errors = x.map((value, i) => a![i]! * value + b![i]! - (seed % 3));
      return {
        loss: errors.reduce((sum, error) => sum + error * error, 0),
        gradients: { a: errors.map((error, i) => 2 * error * x[i]!), b: errors.map((e) => 2 * e) },
      };
    }
    configureOptimizers() {
      return { learningRate: 0.01, momentum };
    }
  }
  const make = () => ({
    open: () => new Line(),
    batch: (step: number) => step,
    brokenBatch: Number.NaN,
  });
  engineContract('FloatModule', make, { describe, it });
});
