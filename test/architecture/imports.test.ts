import { readdirSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { expect, it } from 'vitest';

/**
 * Who may import whom; the first row that fits a file rules it. A place is a file of `src`, a folder
 * with its `/`, `node:`, or `own`: the file or folder of the implementation itself. `types` are the
 * further places that `import type` may name, `packages` how many third parties one implementation has.
 */
interface Rule {
  readonly of: string;
  readonly values: readonly string[];
  readonly types?: readonly string[];
  readonly packages?: number;
}

const contracts = [
  'storages/storage.ts',
  'engines/engine.ts',
  'strategies/strategy.ts',
  'loggers/logger.ts',
  'callbacks/callback.ts',
  'schedulers/scheduler.ts',
];
const base = [
  'node:',
  'format/',
  'errors.ts',
  'event-loop.ts',
  'each-at-once.ts',
  'native-crc32.ts',
  'option-check.ts',
  'size-text.ts',
  'version.ts',
];
const core = [...base, ...contracts, 'checkpoint/', 'saving/'];
const implementations = ['storages/', 'strategies/', 'loggers/', 'callbacks/'];
const rules: readonly Rule[] = [
  { of: 'errors.ts', values: [] },
  { of: 'event-loop.ts', values: [] },
  { of: 'each-at-once.ts', values: [] },
  { of: 'native-crc32.ts', values: ['node:'], packages: 1 },
  { of: 'version.ts', values: [] },
  { of: 'closest.ts', values: [] },
  { of: 'size-text.ts', values: [] },
  { of: 'option-check.ts', values: ['closest.ts', 'errors.ts'] },
  { of: 'format/', values: ['format/', 'errors.ts'] },
  {
    of: 'checkpoint/',
    values: ['checkpoint/', 'errors.ts', 'option-check.ts'],
    types: ['format/'],
  },
  ...contracts.map((of) => ({ of, values: [], types: [''] })),
  { of: 'storages/', values: [...base, 'own', 'storages/storage.ts'], packages: 1 },
  { of: 'strategies/', values: [...base, 'own', 'strategies/strategy.ts'], packages: 1 },
  {
    of: 'loggers/',
    values: [
      ...base,
      'own',
      'loggers/logger.ts',
      'loggers/log-folder.ts',
      'loggers/durable-file.ts',
    ],
    packages: 1,
  },
  { of: 'engines/load-plan.ts', values: base, types: ['engines/engine.ts'] },
  // Checkpoints for the loop of tfjs itself, which the Trainer does not drive.
  {
    of: 'engines/tfjs/layers-model/',
    values: [
      ...core,
      'own',
      'engines/load-plan.ts',
      'trainer/',
      'place.ts',
      'callbacks/model-checkpoint.ts',
    ],
    packages: 2,
  },
  {
    of: 'engines/',
    values: [
      ...base,
      'own',
      'engines/engine.ts',
      'engines/load-plan.ts',
      'trainer/training-module.ts',
    ],
    types: ['trainer/', 'schedulers/scheduler.ts'],
    packages: 2,
  },
  {
    of: 'schedulers/',
    values: ['schedulers/', 'errors.ts', 'option-check.ts', 'checkpoint/monitor.ts'],
    types: ['format/'],
  },
  { of: 'saving/', values: core },
  { of: 'callbacks/', values: [...core, 'own'], types: ['trainer/'] },
  // The one room that knows implementations, since it chooses the defaults. Never an engine.
  { of: 'trainer/options.ts', values: [...core, 'trainer/', ...implementations] },
  {
    of: 'trainer/foreign-run.ts',
    values: [...core, 'trainer/'],
    types: ['callbacks/model-checkpoint.ts'],
  },
  { of: 'trainer/load-weights.ts', values: [...core, 'trainer/', 'place.ts'] },
  { of: 'trainer/', values: [...core, 'trainer/'] },
  {
    of: 'testing/',
    values: [...base, ...contracts, 'testing/', 'trainer/training-module.ts'],
    packages: 1,
  },
  // Chooses the default storage for a path, as `trainer/options.ts` does for the Trainer.
  { of: 'place.ts', values: [...core, 'storages/'] },
  { of: 'inspection/', values: [...core, 'inspection/', 'place.ts'] },
  // Bytes of Python, without a place: it reads no file and makes no value that it was not asked for.
  {
    of: 'interop/torch/pickle/',
    values: ['interop/torch/pickle/', 'format/', 'errors.ts'],
  },
  { of: 'interop/', values: [...core, 'interop/', 'place.ts'] },
  // The public API: an export of its own for each kind of work, so that a command loads only what it needs.
  {
    of: 'cli/',
    values: [
      'node:',
      'cli/',
      'closest.ts',
      'size-text.ts',
      'index.ts',
      'inspection/index.ts',
      'interop/index.ts',
      'interop/torch/index.ts',
    ],
  },
  // Engines have an export of their own: their third party is an optional peer.
  {
    of: 'index.ts',
    values: [...core, 'engines/load-plan.ts', 'trainer/', 'schedulers/', ...implementations],
  },
];

/** `import|export [type] … from 'a'`, `import 'b'`, `import('c')`, outside comments. */
const imports =
  /^[ \t]*(?:import|export)\s+(type\s)?[^'"();=]*?from\s*['"]([^'"]+)['"]|^[ \t]*import\s*['"]([^'"]+)['"]|^(?![ \t]*(?:\*|\/\/)).*?\bimport\(\s*['"]([^'"]+)['"]/gm;

const covers = (places: readonly string[], name: string) =>
  places.some((place) => name === place || (/(^|[/:])$/.test(place) && name.startsWith(place)));

/** Every import of the sources (path below `src` → text) that no rule allows, as `file: name`. */
function violations(sources: Iterable<readonly [file: string, text: string]>): string[] {
  const found: string[] = [];
  const packagesOf = new Map<string, Set<string>>();
  for (const [file, text] of sources) {
    const rule = rules.find(({ of }) => covers([of], file));
    if (rule === undefined) {
      found.push(`${file}: no rule covers this file`);
      continue;
    }
    const unit = file.split('/').slice(0, 2).join('/').replace(/\.ts$/, '');
    const values = rule.values.flatMap((v) => (v === 'own' ? [`${unit}/`, `${unit}.ts`] : [v]));
    for (const [, isType, fromName, bareName, dynamicName] of text.matchAll(imports)) {
      const name = fromName ?? bareName ?? dynamicName ?? '';
      const isRelative = name.startsWith('.');
      if (isRelative || name.startsWith('node:')) {
        const target = isRelative ? posix.join(posix.dirname(file), name) : name;
        const places = isType ? [...values, ...(rule.types ?? [])] : values;
        if (target.startsWith('..') || !covers(places, target)) found.push(`${file}: ${name}`);
      } else {
        const packages = packagesOf.get(unit) ?? new Set();
        packagesOf.set(unit, packages.add(/^(@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? name));
        if (packages.size > (rule.packages ?? 0) || packages.has('highwater')) {
          found.push(`${file}: ${name}`);
        }
      }
    }
  }
  return found;
}

it('finds only imports that the rules allow in src', () => {
  const files = readdirSync('src', { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll('\\', '/'))
    .filter((file) => file.endsWith('.ts'));
  expect(violations(files.map((file) => [file, readFileSync(`src/${file}`, 'utf8')]))).toEqual([]);
});

it.each([
  ['errors.ts', `import type { Mode } from './checkpoint/options.ts';`],
  ['format/a.ts', `import type { Mode } from '../checkpoint/options.ts';`],
  ['format/a.ts', `import { x } from '../format/../saving/saver.ts';`],
  ['checkpoint/a.ts', `import { readFile } from 'node:fs/promises';`],
  ['checkpoint/a.ts', `import { encode } from '../format/safetensors.ts';`],
  ['loggers/logger.ts', `import { appendFile } from 'node:fs/promises';`],
  ['storages/storage.ts', `import { StorageError } from '../errors.ts';`],
  ['storages/s3.ts', `import { MemoryStorage } from './memory.ts';`],
  ['storages/s3.ts', `export * from '../storages/memory.ts';`],
  ['storages/s3.ts', `import a from 'one';\nimport type { B } from '@two/b/c';`],
  ['engines/jax/a.ts', `import {\n  type A,\n  b,\n} from '../tfjs/index.ts';`],
  ['engines/jax/a.ts', `import { Trainer } from '../../trainer/trainer.ts';`],
  ['engines/jax/a.ts', `import a from 'one';\nimport b from 'two';\nimport c from 'three';`],
  ['saving/a.ts', `import { LocalStorage } from '../storages/local.ts';`],
  ['saving/a.ts', `import '../trainer/trainer.ts';`],
  ['trainer/a.ts', `const { CsvLogger } = await import(\n  '../loggers/csv.ts'\n);`],
  ['trainer/a.ts', `import * as tf from '@tensorflow/tfjs-core';`],
  ['trainer/options.ts', `import { TfjsModule } from '../engines/tfjs/index.ts';`],
  ['callbacks/a.ts', `import { Trainer } from '../trainer/trainer.ts';`],
  ['callbacks/a.ts', `import { ModelCheckpoint } from './model-checkpoint.ts';`],
  ['cli/a.ts', `import { Trainer } from '../trainer/trainer.ts';`],
  ['cli/a.ts', `import { Trainer } from 'highwater';`],
  ['cli/a.ts', `import { CheckpointReader } from '../saving/checkpoint-reader.ts';`],
  ['inspection/a.ts', `import { Trainer } from '../trainer/trainer.ts';`],
  ['inspection/a.ts', `import { localFiles } from '../storages/local.ts';`],
  ['index.ts', `export { TfjsModule } from './engines/tfjs/index.ts';`],
  ['utils/a.ts', ''],
])('refuses in %s: %s', (file, text) => {
  expect(violations([[file, text]])).toHaveLength(1);
});

it('loads no engine and no Trainer with the highwater command, whatever it is asked', () => {
  const loaded = new Set<string>(['cli/main.ts']);
  for (const file of loaded) {
    const text = readFileSync(`src/${file}`, 'utf8');
    for (const [, isType, from, bare, dynamic] of text.matchAll(imports)) {
      const name = from ?? bare ?? dynamic ?? '';
      if (!isType && name.startsWith('.')) loaded.add(posix.join(posix.dirname(file), name));
    }
  }
  expect(loaded).toContain('storages/local.ts');
  const heavy = /^(?:engines|trainer|callbacks|loggers)\/|^index\.ts$/;
  expect([...loaded].filter((file) => heavy.test(file))).toEqual([]);
});

it('lets types through where only types may pass', () => {
  expect(
    violations([
      ['callbacks/callback.ts', `import type { Trainer } from '../trainer/trainer.ts';`],
      ['callbacks/a.ts', `export type { Trainer } from '../trainer/trainer.ts';`],
      ['engines/tfjs/a.ts', `import * as tf from '@tensorflow/tfjs-core';\nimport './b.ts';`],
    ]),
  ).toEqual([]);
});
