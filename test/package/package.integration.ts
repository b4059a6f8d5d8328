import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { train } from '../inspection/runs.ts';

// The package as a user gets it: packed, installed into an empty project, imported, type-checked.
const project = mkdtempSync(join(tmpdir(), 'highwater-package-'));
const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const entries = Object.keys(manifest.exports).filter((entry) => entry !== './package.json');
const specifiers = entries.map((entry) => entry.replace('.', 'highwater'));
let tarball: string;

/** Runs a command and returns what it printed; what a failing one printed is in the error. */
function run(cwd: string, command: string, ...args: string[]): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(' ')}\n${stdout}\n${stderr}`);
  }
}
const tool = (name: string) => resolve('node_modules/.bin', name);
const importAll = (names: readonly string[]) =>
  run(
    project,
    'node',
    '--input-type=module',
    '--eval',
    names.map((n) => `import '${n}';`).join(''),
  );

function typeCheck(source: string, compilerOptions: object): void {
  writeFileSync(join(project, 'consumer.ts'), source);
  writeFileSync(
    join(project, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'es2023',
        lib: ['es2023', 'dom'],
        module: 'nodenext',
        types: [],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        verbatimModuleSyntax: true,
        noEmit: true,
        ...compilerOptions,
      },
      files: ['consumer.ts'],
    }),
  );
  run(project, tool('tsc'), '-p', project);
}

beforeAll(() => {
  run('.', 'npm', 'pack', '--pack-destination', project);
  tarball = join(project, readdirSync(project).find((name) => name.endsWith('.tgz')) ?? '');
  writeFileSync(join(project, 'package.json'), '{ "private": true, "type": "module" }');
  run(project, 'npm', 'install', '--prefer-offline', '--no-audit', '--no-fund', tarball);
});
afterAll(() => rmSync(project, { recursive: true }));

it('installs alone and its core needs no peer', () => {
  const installed = readdirSync(join(project, 'node_modules')).filter((name) => name[0] !== '.');
  const { dependencies, optionalDependencies } = manifest;
  const brought = Object.keys({ ...dependencies, ...optionalDependencies });
  const folders = brought.map((name) => name.split('/')[0]);
  expect(installed).toEqual(['highwater', ...folders].sort());
  importAll(['highwater']);
});

it('brings the highwater command, which needs no peer either', async () => {
  await train(join(project, 'run'), [0.5, 0.25], { saveTopK: 2 });
  const highwater = (...args: string[]) =>
    run(project, 'npx', '--no-install', 'highwater', ...args);
  expect(highwater('--version')).toBe(`${manifest.version}\n`);
  expect(highwater('ls', 'run')).toMatch(/^step=2\.ckpt .* 1 best .* whole$/m);
  expect(highwater('verify', 'run')).toContain('all whole: 2 files');
});

it('type-checks in a strict consumer that has no Node types', () => {
  const source = `
    import { ModelCheckpoint, Trainer } from 'highwater';
    const checkpoint = new ModelCheckpoint({ monitor: 'valLoss', mode: 'max', saveTopK: 3 });
    export const trainer: Trainer = new Trainer({ maxEpochs: 2, callbacks: [checkpoint] });
    export const best: string = checkpoint.bestModelPath;
    // @ts-expect-error: a mode is 'min' or 'max'.
    new ModelCheckpoint({ mode: 'best' });`;
  typeCheck(source, { skipLibCheck: false });
});

it('imports and type-checks every export beside its peers', () => {
  for (const peer of Object.keys(manifest.peerDependencies ?? {})) {
    const place = join(project, 'node_modules', peer);
    mkdirSync(dirname(place), { recursive: true });
    symlinkSync(resolve('node_modules', peer), place);
  }
  importAll(specifiers);
  const source = specifiers.map((name, i) => `export * as m${i} from '${name}';`).join('\n');
  // The peers' own declarations are not clean.
  typeCheck(source, { skipLibCheck: true });
});

it('adds checkpoints to model.fit of the @tensorflow/tfjs package in one line', () => {
  const own = mkdtempSync(join(tmpdir(), 'highwater-union-'));
  try {
    writeFileSync(join(own, 'package.json'), '{ "private": true, "type": "module" }');
    run(own, 'npm', 'install', '--no-audit', '--no-fund', tarball, '@tensorflow/tfjs@4.22.0');
    writeFileSync(
      join(own, 'train.js'),
      `import * as tf from '@tensorflow/tfjs';
       import { modelCheckpoint, restore } from 'highwater/tfjs';
       const make = () => {
         const model = tf.sequential({ layers: [tf.layers.dense({ units: 1, inputShape: [2] })] });
         model.compile({ optimizer: tf.train.rmsprop(0.01, 0.9, 0.5, 1e-7, true), loss: 'meanSquaredError' });
         return model;
       };
       const x = tf.randomUniform([32, 2], -1, 1, 'float32', 1);
       const y = tf.sum(x, 1, true);
       const fit = async (model, initialEpoch, epochs) => {
         await model.fit(x, y, { initialEpoch, epochs, shuffle: false, verbose: 0,
           callbacks: modelCheckpoint({ monitor: 'loss', saveTopK: 2, saveLast: true }) });
         return model;
       };
       const whole = await fit(make(), 0, 3);
       const resumed = make();
       const epoch = await restore(resumed, 'last');
       const same = tf.equal(whole.getWeights()[0], resumed.getWeights()[0]).all().dataSync()[0];
       await fit(resumed, epoch, 5);
       await fit(whole, 3, 5);
       const after = tf.equal(whole.getWeights()[0], resumed.getWeights()[0]).all().dataSync()[0];
       console.log(JSON.stringify({ epoch, same, after }));`,
    );
    const printed = run(own, 'node', 'train.js').trim().split('\n').at(-1) ?? '';
    expect(JSON.parse(printed)).toEqual({ epoch: 3, same: 1, after: 1 });
  } finally {
    rmSync(own, { recursive: true });
  }
}, 120_000);

it('means by each name in the repo what the package exports', () => {
  const paths = Object.entries<{ types: string; default: string }>(manifest.exports)
    .filter(([entry]) => entries.includes(entry))
    .map(([entry, { types, default: js }]) => {
      expect(types).toBe(js.replace(/\.js$/, '.d.ts'));
      return [entry.replace('.', 'highwater'), [js.replace('dist', 'src').replace(/js$/, 'ts')]];
    });
  const config = run('.', tool('tsc'), '-p', 'tsconfig.json', '--showConfig');
  expect(JSON.parse(config).compilerOptions.paths).toEqual(Object.fromEntries(paths));
});

it('is found sound by publint, attw and size-limit', () => {
  run('.', tool('publint'), 'run', tarball, '--strict');
  run('.', tool('attw'), tarball, '--profile', 'esm-only');
  run('.', tool('size-limit'));
});
