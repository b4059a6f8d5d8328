import {
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { KeptModels } from '../../src/checkpoint/kept-models.ts';
import { localFiles, memoryFiles, StorageError, type StorageErrorKind } from '../../src/index.ts';
import {
  type CheckpointSummary,
  inspect,
  listCheckpoints,
  readHistory,
  verify,
} from '../../src/inspection/index.ts';
import { bareSummary, ranked, type UnrankedSummary } from '../../src/inspection/summary.ts';
import { nodeFileSystem } from '../../src/storages/local/file-system.ts';
import { collect, f32, temporaryFolder, train, writeForeign } from './runs.ts';

/** The few facts that tell checkpoints apart. */
const facts = ({ name, globalStep, score, rank, best, last, state }: CheckpointSummary) =>
  [name, globalStep, score, rank, best ? 'best' : last ? 'last' : '', state] as const;

async function factsOf(...args: Parameters<typeof listCheckpoints>) {
  return (await listCheckpoints(...args)).checkpoints.map(facts);
}

it('ranks what a callback keeps, and marks the best and the last', async () => {
  const storage = memoryFiles();
  await train('/run', [0.5, 0.25, 0.75, 0.25], { saveTopK: 3, saveLast: true }, { storage });
  expect(await factsOf('/run', { storage })).toEqual([
    ['step=1.ckpt', 1, 0.5, 3, '', 'whole'],
    ['step=2.ckpt', 2, 0.25, 1, 'best', 'whole'],
    ['last.ckpt', 4, 0.25, null, 'last', 'whole'],
    ['step=4.ckpt', 4, 0.25, 2, '', 'whole'],
  ]);
});

it('gives the last file the score of its weights, also when they did not rank', async () => {
  const storage = memoryFiles();
  await train('/run', [0.25, 0.5], { saveLast: true }, { storage });
  expect(await factsOf('/run', { storage })).toEqual([
    ['step=1.ckpt', 1, 0.25, 1, 'best', 'whole'],
    ['last.ckpt', 2, 0.5, null, 'last', 'whole'],
  ]);
});

it('gives the last file of a callback the score by its own monitor, not by that of another callback', async () => {
  const storage = memoryFiles();
  const other = {
    monitor: 'acc',
    mode: 'min',
    filename: 'acc',
    everyNTrainSteps: 1,
    saveLast: true,
  } as const;
  await train('/run', [0.5, 0.25], {}, { storage, beside: [other] });
  const { checkpoints } = await listCheckpoints('/run', { storage });
  expect(checkpoints.map(({ name, monitor, score }) => [name, monitor, score])).toEqual([
    ['acc.ckpt', 'acc', 0.5],
    ['last.ckpt', 'acc', 0.75],
    ['step=2.ckpt', 'loss', 0.25],
  ]);
});

it.each<[string, object, unknown[]]>([
  ['high is better', { mode: 'max', saveTopK: 2 }, [1, 2]],
  ['nothing is monitored', { monitor: undefined, saveTopK: -1 }, [null, null]],
  ['weights only', { saveWeightsOnly: true, saveTopK: -1 }, [2, 1]],
])('ranks by what the files say: %s', async (_, options, ranks) => {
  const storage = memoryFiles();
  await train('/run', [0.5, 0.25], options, { storage });
  const { checkpoints } = await listCheckpoints('/run', { storage });
  expect(checkpoints.map(({ rank }) => rank)).toEqual(ranks);
});

it('reads runs in folders below, each ranked by itself, and names that make folders', async () => {
  const storage = memoryFiles();
  await train('/runs/a', [0.5, 0.25], { filename: '{step}/{loss}', saveTopK: -1 }, { storage });
  await train('/runs/b', [0.25], {}, { storage });
  const { folder, checkpoints } = await listCheckpoints('/runs', { storage });
  expect(folder).toBe('/runs');
  expect(checkpoints.map(({ path, rank }) => [path, rank])).toEqual([
    ['/runs/a/step=1/loss=0.5.ckpt', 2],
    ['/runs/a/step=2/loss=0.25.ckpt', 1],
    ['/runs/b/step=1.ckpt', 1],
  ]);
});

it('knows a folder that has moved', async () => {
  const root = temporaryFolder();
  await train(join(root, 'here'), [0.5, 0.25], { saveTopK: 2, saveLast: 'link' });
  renameSync(join(root, 'here'), join(root, 'there'));
  const { checkpoints } = await listCheckpoints(pathToFileURL(join(root, 'there')));
  expect(checkpoints.map(facts)).toEqual([
    ['step=1.ckpt', 1, 0.5, 2, '', 'whole'],
    ['last.ckpt', 2, 0.25, null, 'last', 'whole'],
    ['step=2.ckpt', 2, 0.25, 1, 'best', 'whole'],
  ]);
  expect(checkpoints[1]?.target).toBe(join(root, 'there', 'step=2.ckpt'));
});

it('ranks as ModelCheckpoint does: the oldest of equals first', () => {
  const scores = fc.array(fc.constantFrom(0, 1, 2, Infinity), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(scores, fc.constantFrom('min' as const, 'max' as const), (given, mode) => {
      const files = given.map((score, i): UnrankedSummary => {
        const facts = { path: `/${i}.ckpt`, sizeBytes: 1, modifiedAtMs: 0 };
        const bare = bareSummary(facts, 'whole', null);
        return { ...bare, score, mode, rankedAs: 'key', globalStep: i, sequence: i };
      });
      let left = KeptModels.from(files.map(({ path, score }) => [path, score ?? 0]));
      const byRank = [...ranked(files)].sort((a, b) => (a.rank ?? 0) - (b.rank ?? 0));
      for (const { path } of byRank) {
        expect(path).toBe(left.best(mode)?.[0]);
        left = left.without(path);
      }
      expect(byRank.filter(({ best }) => best)).toEqual([byRank[0]]);
    }),
  );
});

/** The first local header of an archive that torch.save wrote: a stored entry with a data descriptor. */
const ZIP_START = Buffer.from('PK\x03\x04\0\0\b\b\0\0'.padEnd(64, '\0'), 'latin1');

describe('files that are no whole checkpoint', () => {
  const root = temporaryFolder();
  const at = (name: string): string => join(root, name);

  it.each<[string, CheckpointSummary['state'], RegExp | null, () => unknown]>([
    [
      'foreign.safetensors',
      'foreign',
      null,
      () => writeForeign(at('foreign.safetensors'), [f32('w', [1])]),
    ],
    [
      'short.ckpt',
      'corrupt',
      /cut short/,
      async () => {
        const { bestModelPath } = await train(join(root, '.source'), [1]);
        writeFileSync(at('short.ckpt'), readFileSync(bestModelPath));
        truncateSync(at('short.ckpt'), readFileSync(bestModelPath).length - 1);
      },
    ],
    [
      'header.ckpt',
      'corrupt',
      /checksum/,
      () => {
        const bytes = readFileSync(join(root, '.source/step=1.ckpt'));
        bytes[bytes.indexOf('globalStep')] = 0x47;
        writeFileSync(at('header.ckpt'), bytes);
      },
    ],
    [
      'text.ckpt',
      'corrupt',
      /no safetensors file/,
      () => writeFileSync(at('text.ckpt'), 'not a checkpoint'),
    ],
    [
      'empty.ckpt',
      'corrupt',
      /ends in its first 8 bytes/,
      () => writeFileSync(at('empty.ckpt'), ''),
    ],
    [
      'huge.ckpt',
      'corrupt',
      /claims 99999999 bytes/,
      () => {
        const claim = Buffer.alloc(64);
        claim.writeBigUInt64LE(99_999_999n);
        writeFileSync(at('huge.ckpt'), claim);
      },
    ],
    [
      'newer.ckpt',
      'newer format',
      /format 9/,
      () => {
        const bytes = readFileSync(join(root, '.source/step=1.ckpt'));
        bytes[bytes.indexOf('"highwater.format":"1"') + '"highwater.format":"'.length] = 0x39;
        writeFileSync(at('newer.ckpt'), bytes);
      },
    ],
    [
      'lightning.ckpt',
      'foreign',
      /zip archive.*highwater import/,
      () => writeFileSync(at('lightning.ckpt'), ZIP_START),
    ],
    ['aside.ckpt.corrupt', 'corrupt', /./, () => writeFileSync(at('aside.ckpt.corrupt'), 'x')],
    [
      'dangling.ckpt',
      'dangling link',
      /no checkpoint|no such file/i,
      () => symlinkSync('nothing', at('dangling.ckpt')),
    ],
    ['loop.ckpt', 'unreadable', /./, () => symlinkSync('loop.ckpt', at('loop.ckpt'))],
  ])('%s is listed as %s, and show and verify say the same', async (name, state, problem, make) => {
    await make();
    const { checkpoints } = await listCheckpoints(root);
    const found = checkpoints.find((checkpoint) => checkpoint.name === name);
    expect(found).toMatchObject({ state, epoch: null, rank: null, best: false, last: false });
    if (problem === null) expect(found?.problem).toBeNull();
    else expect(found?.problem).toMatch(problem);
    const [verified] = await collect(verify(at(name)));
    expect(verified).toMatchObject({ state, isSound: problem === null });
    if (problem === null) expect((await inspect(at(name))).state).toBe(state);
    else await expect(inspect(at(name))).rejects.toThrow(problem);
  });

  it('does not follow a link into a folder, nor look into hidden ones', async () => {
    symlinkSync('.source', at('folder.ckpt'));
    const { checkpoints } = await listCheckpoints(root);
    expect(checkpoints.filter(({ path }) => /folder|\.source/.test(path))).toEqual([]);
  });

  it('lists what it may not read', async () => {
    const storage = localFiles({
      fs: {
        ...nodeFileSystem,
        open: (path, mode) =>
          path.endsWith('foreign.safetensors')
            ? Promise.reject(Object.assign(new Error('EACCES'), { code: 'EACCES' }))
            : nodeFileSystem.open(path, mode),
      },
    });
    const { checkpoints } = await listCheckpoints(root, { storage });
    const found = checkpoints.find(({ name }) => name === 'foreign.safetensors');
    expect(found).toMatchObject({
      state: 'unreadable',
      problem: expect.stringMatching(/may not/),
    });
  });
});

it('says of a folder that it is not there, is a file, or is empty', async () => {
  const root = temporaryFolder();
  writeFileSync(join(root, 'file.ckpt'), '');
  mkdirSync(join(root, 'empty'));
  const kindOf = async (path: string): Promise<unknown> =>
    listCheckpoints(path).catch((error: unknown) => error instanceof StorageError && error.kind);
  expect(await kindOf(join(root, 'nothing'))).toBe('NotFound');
  expect(await kindOf(join(root, 'file.ckpt'))).toBe('NotAFolder');
  expect(await listCheckpoints(join(root, 'empty'))).toEqual({
    folder: join(root, 'empty'),
    checkpoints: [],
  });
});

it.each<[StorageErrorKind, unknown[]]>([
  ['Permission', ['step=1.ckpt', 'locked']],
  ['NotFound', ['step=1.ckpt']],
])('goes on past a folder below that fails with %s', async (kind, names) => {
  const files = memoryFiles();
  await train('/runs/a', [0.5], {}, { storage: files });
  await train('/runs/locked', [0.5], {}, { storage: files });
  const storage = {
    ...files,
    list: (folder: string) => {
      if (folder === '/runs/locked') throw new StorageError(kind, folder, `no: ${folder}`);
      return files.list(folder);
    },
  };
  const { checkpoints } = await listCheckpoints('/runs', { storage });
  expect(new Set(checkpoints.map(({ name }) => name))).toEqual(new Set(names));
  const verified = await collect(verify('/runs', { storage }));
  expect(verified).toHaveLength(names.length);
  expect((await readHistory('/runs', { storage })).map(({ folder }) => folder)).toContain(
    '/runs/a',
  );
  if (kind === 'NotFound') return;
  const problem = 'no: /runs/locked';
  expect(checkpoints).toContainEqual(expect.objectContaining({ state: 'unreadable', problem }));
  expect(verified).toContainEqual(
    expect.objectContaining({ state: 'unreadable', isSound: false, problems: [problem] }),
  );
});

it('takes a file that a run replaces meanwhile for what it is', async () => {
  const storage = memoryFiles();
  await train('/run', [0.5], {}, { storage });
  await train('/other', [0.25], {}, { storage, hparams: { lr: 0.5, note: 'of another size' } });
  const listing = listCheckpoints('/run', {
    storage: {
      ...storage,
      async *list(folder) {
        yield* await collect(storage.list(folder));
        await storage.rename('/other/step=1.ckpt', '/run/step=1.ckpt').catch(() => {});
      },
    },
  });
  expect((await listing).checkpoints).toMatchObject([{ state: 'whole' }]);
});
