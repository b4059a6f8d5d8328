import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Picklable, pickle } from '../../src/interop/torch/pickle/pickler.ts';
import { PyDict } from '../../src/interop/torch/pickle/python-values.ts';
import { f32, temporaryFolder, train, writeForeign } from '../inspection/runs.ts';
import { archiveOf } from '../interop/torch/hostile-file.ts';
import { highwater } from './captured-terminal.ts';

const root = temporaryFolder();
const run = join(root, 'run');
const best = join(run, 'step=2.ckpt');

beforeAll(async () => {
  await train(run, [0.5, 0.25, 0.75], { saveTopK: 2, saveLast: true });
  mkdirSync(join(root, 'empty'));
  writeFileSync(join(root, 'junk.ckpt'), 'junk');
  writeForeign(join(root, 'theirs.safetensors'), [f32('w', [1, 2])]);
  mkdirSync(join(root, 'others'));
  writeFileSync(join(root, 'others/lightning.ckpt'), `PK\x03\x04\0\0\b\b${'\0'.repeat(64)}`);
  const damaged = readFileSync(best);
  damaged[damaged.length - 1] = 0xff;
  mkdirSync(join(root, 'damaged'));
  writeFileSync(join(root, 'damaged/a.ckpt'), damaged);
});

const json = async (...args: string[]): Promise<unknown> => {
  const { code, out, err } = await highwater([...args, '--json']);
  expect(err).toBe('');
  expect(code).toBeLessThan(2);
  return JSON.parse(out);
};

describe('ls', () => {
  it('prints an array with what is promised, and nothing else', async () => {
    expect(await json('ls', run)).toEqual([
      ...[
        [1, 0.5, 2, false],
        [2, 0.25, 1, true],
      ].map(([step, score, rank, isBest]) => ({
        path: join(run, `step=${step}.ckpt`),
        name: `step=${step}.ckpt`,
        epoch: 0,
        globalStep: step,
        monitor: 'loss',
        score,
        rank,
        best: isBest,
        last: false,
        sizeBytes: expect.any(Number),
        savedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        state: 'whole',
      })),
      expect.objectContaining({ name: 'last.ckpt', last: true, rank: null, score: 0.75 }),
    ]);
  });

  it.each([
    ['step', ['step=1.ckpt', 'step=2.ckpt', 'last.ckpt']],
    ['score', ['step=2.ckpt', 'step=1.ckpt', 'last.ckpt']],
    ['name', ['last.ckpt', 'step=1.ckpt', 'step=2.ckpt']],
  ])('sorts by %s', async (order, names) => {
    const listed = (await json('ls', run, '--sort', order)) as { name: string }[];
    expect(listed.map(({ name }) => name)).toEqual(names);
    const { out } = await highwater(['ls', run, '--sort', order]);
    expect([...out.matchAll(/^\S+\.ckpt/gm)].map(([name]) => name)).toEqual(names);
  });

  it('shows folders as a tree, files of others and broken ones', async () => {
    const { out } = await highwater(['ls', root, '--tree']);
    expect(out).toMatch(/^├─ junk\.ckpt .* corrupt$/m);
    expect(out).toMatch(/^├─ theirs\.safetensors .* foreign$/m);
    expect(out).toMatch(/^└─ run$/m);
    expect(out).toMatch(/^ {3}├─ step=2\.ckpt +0 +2 +0\.2500 +1 best .* whole$/m);
  });

  it('takes a file: URL, and finds nothing in an empty folder', async () => {
    expect(await json('ls', pathToFileURL(run).href)).toHaveLength(3);
    expect(await json('ls', join(root, 'empty'))).toEqual([]);
    expect(await highwater(['ls', join(root, 'empty')])).toEqual({
      code: 0,
      out: '',
      err: expect.stringContaining('No checkpoints in'),
    });
  });
});

describe('exit codes', () => {
  it.each<[number, string[], RegExp]>([
    [0, ['ls', run], /1 best/],
    [1, ['ls', root], /junk\.ckpt .* corrupt/],
    [1, ['ls', root, '--json'], /"state": "corrupt"/],
    [0, ['ls', join(root, 'others')], /lightning\.ckpt .* foreign/],
    [1, ['show', join(root, 'others/lightning.ckpt')], /zip archive.*highwater import/],
    [0, ['show', best], /written by +Highwater .*, array engine, format 1/],
    [0, ['show', join(root, 'theirs.safetensors')], /w +2 +F32 +8 B/],
    [1, ['show', join(root, 'junk.ckpt')], /cannot be read as a checkpoint/],
    [2, ['show', join(root, 'nothing.ckpt')], /There is no checkpoint/],
    [2, ['show', run], /is a folder/],
    [0, ['show', best, '--tensor', 'weight'], /^mean|\bmean\b/m],
    [2, ['show', best, '--tensor', 'wait'], /has no tensor 'wait'\. It has 'bias', 'weight'/],
    [
      1,
      ['show', join(root, 'damaged/a.ckpt'), '--tensor', 'weight'],
      /does not match its checksum/,
    ],
    [0, ['verify', run], /all whole: 3 files/],
    [0, ['verify', join(root, 'theirs.safetensors')], /foreign, has no checksums/],
    [1, ['verify', root], /3 of 7 not whole/],
    [1, ['verify', join(root, 'damaged')], /corrupt .*\n {4}.*tensor 'weight'/],
    [0, ['verify', join(root, 'empty')], /No checkpoints to verify/],
    [2, ['verify', join(root, 'nothing')], /There is no file or folder/],
    [0, ['diff', best, best], /No difference/],
    [1, ['diff', join(run, 'step=1.ckpt'), best], /weight +changed/],
    [1, ['diff', best, join(root, 'theirs.safetensors')], /w +added/],
    [2, ['diff', best], /diff needs 2 paths/],
    [0, ['why', run], /rejected|removed|saved/],
    [0, ['why', best], /now +there, whole, number 1 by loss/],
    [2, ['why', join(run, 'step=9.ckpt')], /no history mentions it/],
    [0, ['why', join(root, 'empty')], /No history/],
    [2, ['prune', run], /prune needs to know what stays/],
    [2, ['prune', run, '--keep-top', 'x'], /--keep-top is 'x'/],
    [2, ['prune', run, '--older-than', '7'], /a number with a unit/],
    [2, ['prune', run, '--keep-top', '1', '--mode', 'min'], /give both/],
    [2, ['prune', run, '--keep-top', '1', '--by', 'los'], /'los'.*They have 'loss'/],
    [2, ['average', best, best], /-o FILE/],
    [2, ['average', best, '-o', join(root, 'soup.ckpt')], /average needs 2 paths/],
    [
      2,
      ['average', best, join(root, 'theirs.safetensors'), '-o', join(root, 's.ckpt')],
      /not of one model/,
    ],
  ])('%i: %j', async (code, args, message) => {
    const found = await highwater(args);
    expect(found.out + found.err).toMatch(message);
    expect(found.code).toBe(code);
    expect(found.err).not.toMatch(/^ +at /m);
  });
});

describe('why', () => {
  it('tells of a file that is gone', async () => {
    const folder = join(root, 'gone');
    await train(folder, [0.5, 0.25]);
    const { out } = await highwater(['why', join(folder, 'step=1.ckpt')]);
    expect(out).toMatch(
      /removed +step 2, epoch 0, .* ago\n +because +loss is not among the 1 best any more/,
    );
    expect(out).toMatch(/made room for +step=2\.ckpt, loss 0\.2500\n +now +gone/);
  });

  it('shows what was rejected', async () => {
    const folder = join(root, 'rejected');
    await train(folder, [0.25, 0.5]);
    const { out } = await highwater(['why', folder]);
    expect(out).toMatch(/2 +0\.5000 +rejected +not better than the worst kept, 0\.2500/);
  });
});

describe('prune', () => {
  const asking = { isInteractive: true };
  const files = (folder: string): string[] =>
    readdirSync(folder)
      .filter((name) => name !== '.highwater')
      .sort();

  async function fresh(name: string): Promise<string> {
    const folder = join(root, name);
    await train(folder, [0.5, 0.25, 0.75], { saveTopK: -1 });
    return folder;
  }

  it('removes nothing when nobody can be asked, on a dry run, and after a no', async () => {
    const folder = await fresh('careful');
    const args = ['prune', folder, '--keep-top', '1'];
    const unasked = await highwater(args);
    expect(unasked.code).toBe(2);
    expect(unasked.out).toMatch(/^remove +step=3\.ckpt +3 +0\.7500 .* not the best$/m);
    expect(unasked.err).toContain('--yes');
    expect((await highwater([...args, '--json'])).code).toBe(2);
    expect((await highwater([...args, '--dry-run'])).code).toBe(0);
    const refused = await highwater(args, { ...asking, confirm: async () => false });
    expect([refused.code, refused.err]).toEqual([0, 'Nothing was removed.\n']);
    expect(files(folder)).toHaveLength(3);
  });

  it('asks, with how many, and does it after a yes', async () => {
    const folder = await fresh('asked');
    let asked = '';
    const confirm = async (question: string): Promise<boolean> => {
      asked = question;
      return true;
    };
    const { code, out } = await highwater(['prune', folder, '--keep-top', '1'], {
      ...asking,
      confirm,
    });
    expect([code, asked]).toEqual([0, 'Remove 2 files?']);
    expect(out).toMatch(/Removed 2 files\.\n$/);
    expect(files(folder)).toEqual(['step=2.ckpt']);
  });

  it('tells a program what it did', async () => {
    const folder = await fresh('scripted');
    const told = await json('prune', folder, '--keep-last', '1', '--yes');
    const [one, two, three] = [1, 2, 3].map((step) => join(folder, `step=${step}.ckpt`));
    expect(told).toMatchObject({ keep: [{ path: three }], removed: [one, two], left: [] });
  });
});

it('averages from the command line, and replaces only when forced', async () => {
  const args = ['average', join(run, 'step=1.ckpt'), best, '-o', join(root, 'soup.ckpt')];
  expect((await highwater(args)).out).toMatch(/soup\.ckpt: the mean of 2 checkpoints, 2 tensors/);
  expect(await highwater(args)).toMatchObject({ code: 2, err: expect.stringContaining('--force') });
  expect((await highwater([...args, '--force'])).code).toBe(0);
});

it.each(['ls', 'show', 'why', 'verify', 'import'])(
  '%s prints nothing of a hostile file as it is',
  async (command) => {
    const folder = join(root, `hostile-${command}`);
    const evil = '\x1b]0;owned\x07\x9b31m\u202e\n';
    await train(folder, [0.5], { filename: 'a' }, { hparams: { [`k${evil}`]: `v${evil}` } });
    writeForeign(join(folder, 'b.safetensors'), [f32(`t${evil}`, [1])]);
    writeFileSync(join(folder, `c${evil.replace('/', '')}.ckpt`), 'junk');
    writeFileSync(
      join(folder, '.highwater/history.jsonl'),
      `${JSON.stringify({ kind: 'removed', path: `/d${evil}`, reason: evil })}\n`,
    );
    const torch = pickle(
      new Map<string, Picklable>([
        ['pytorch-lightning_version', '2.0.0'],
        ['state_dict', new Map([[`w${evil}`, [null]]])],
        ['hyper_parameters', new Map([[`k${evil}`, `v${evil}`]])],
        [`x${evil}`, PyDict.of([[null, evil]])],
      ]),
    );
    writeFileSync(join(folder, 't.pt'), await archiveOf({ 'a/data.pkl': torch }));
    const files: Record<string, string[]> = { show: ['a.ckpt', 'b.safetensors'], import: ['t.pt'] };
    for (const path of (files[command] ?? ['']).map((name) => join(folder, name))) {
      for (const format of [[], ['--json']]) {
        const { out, err } = await highwater([command, path, ...format]);
        expect(out.length).toBeGreaterThan(0);
        expect(out + err).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
      }
    }
  },
);
