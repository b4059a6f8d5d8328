import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect, it } from 'vitest';
import { memoryFiles } from '../../src/index.ts';
import { fateOf, parseJournal } from '../../src/inspection/history.ts';
import { planPrune, prune, readFileHistory, readHistory } from '../../src/inspection/index.ts';
import { temporaryFolder, train } from './runs.ts';

it('tells what was saved, rejected and removed, in order, with the time', async () => {
  const storage = memoryFiles();
  await train('/run', [0.5, 0.25, 0.75], {}, { storage });
  const [history] = await readHistory('/run', { storage });
  expect(history).toMatchObject({ folder: '/run', source: 'journal' });
  const told = history?.events.map(({ kind, globalStep, path, score }) => [
    kind,
    globalStep,
    path,
    score,
  ]);
  expect(told).toEqual([
    ['saved', 1, '/run/step=1.ckpt', 0.5],
    ['saved', 2, '/run/step=2.ckpt', 0.25],
    ['removed', 2, '/run/step=1.ckpt', null],
    ['rejected', 3, null, 0.75],
  ]);
  expect(history?.events.at(-1)?.worstKept).toBe(0.25);
  expect(history?.events.every(({ at }) => Date.now() - Date.parse(at ?? '') < 60_000)).toBe(true);
});

it('keeps the rejections of a run that saves nothing more, without waiting for its end', async () => {
  const storage = memoryFiles();
  await train('/run', [0, ...Array.from({ length: 250 }, () => 1)], {}, { storage });
  const [history] = await readHistory('/run', { storage });
  expect(history?.events.filter(({ kind }) => kind === 'rejected')).toHaveLength(250);
});

it('tells of a file that is gone: its score, why it was removed, and what took its place', async () => {
  const storage = memoryFiles();
  await train('/run', [0.5, 0.25], {}, { storage });
  expect(await readFileHistory('/run/step=1.ckpt', { storage })).toMatchObject({
    checkpoint: null,
    fate: {
      saved: { globalStep: 1, score: 0.5, monitor: 'loss' },
      removed: { globalStep: 2, reason: 'loss is not among the 1 best any more' },
      replacedBy: { path: '/run/step=2.ckpt', score: 0.25 },
    },
  });
  expect(await readFileHistory('/run/step=2.ckpt', { storage })).toMatchObject({
    checkpoint: { rank: 1 },
    fate: { removed: null, replacedBy: null },
  });
  await expect(readFileHistory('/run/step=9.ckpt', { storage })).rejects.toMatchObject({
    code: 'CHECKPOINT_NOT_FOUND',
  });
});

it('tells of a file in a folder below its journal, and of a folder that has moved', async () => {
  const root = temporaryFolder();
  await train(join(root, 'here'), [0.5, 0.25], { filename: '{epoch}/{step}' });
  renameSync(join(root, 'here'), join(root, 'there'));
  const { fate, folder } = await readFileHistory(join(root, 'there/epoch=0/step=1.ckpt'));
  expect(folder).toBe(join(root, 'there'));
  expect(fate?.removed?.globalStep).toBe(2);
});

it('tells of a file in a folder without a journal above one that has one', async () => {
  const root = temporaryFolder();
  const { bestModelPath } = await train(join(root, 'run'), [0.5]);
  cpSync(bestModelPath, join(root, 'copy.ckpt'));
  expect(await readFileHistory(join(root, 'copy.ckpt'))).toMatchObject({
    folder: root,
    source: 'files',
    checkpoint: { globalStep: 1 },
  });
  expect((await readHistory(root)).map(({ folder, source }) => [folder, source])).toEqual([
    [root, 'files'],
    [join(root, 'run'), 'journal'],
  ]);
});

it('tells of the files that a journal is too young for, too, in the order of time', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25, 0.75], { saveTopK: -1 });
  rmSync(join(root, '.highwater'), { recursive: true });
  writeFileSync(join(root, 'notes.ckpt'), 'nobody saved this');
  await prune(await planPrune(root, { keepTop: 1, keepLast: 1 }));
  const [history] = await readHistory(root);
  expect(history?.source).toBe('journal');
  expect(history?.events.map(({ kind, path }) => [kind, basename(path ?? '')])).toEqual([
    ['saved', 'step=2.ckpt'],
    ['saved', 'step=3.ckpt'],
    ['removed', 'step=1.ckpt'],
  ]);
  expect((await readFileHistory(join(root, 'step=2.ckpt'))).fate?.saved?.score).toBe(0.25);
});

const removal = (path: string) => JSON.stringify({ kind: 'removed', path });

it.each<[string, string[], string | undefined]>([
  ['the same place in a folder that has moved', ['/old/b/best.ckpt'], '/old/b/best.ckpt'],
  ['a folder beside it', ['/old/a/best.ckpt'], undefined],
  ['both', ['/old/a/best.ckpt', '/old/b/best.ckpt'], '/old/b/best.ckpt'],
  ['a deeper one too', ['/old/a/b/best.ckpt', '/old/b/best.ckpt'], '/old/b/best.ckpt'],
  ['two that it may have been', ['/x/b/best.ckpt', '/y/b/best.ckpt'], undefined],
  ['the very path', ['/old/b/best.ckpt', '/new/b/best.ckpt'], '/new/b/best.ckpt'],
])('takes what is told of %s for the story of a file, or tells none', (_, paths, mentioned) => {
  const events = parseJournal(paths.map(removal).join('\n'));
  expect(fateOf(events, '/new', '/new/b/best.ckpt')?.path).toBe(mentioned);
});

it('says what the files themselves say where there is no journal', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25], { saveTopK: 2 });
  rmSync(join(root, '.highwater'), { recursive: true });
  const [history] = await readHistory(root);
  expect(history?.source).toBe('files');
  expect(history?.events.map(({ kind, globalStep, score }) => [kind, globalStep, score])).toEqual([
    ['saved', 1, 0.5],
    ['saved', 2, 0.25],
  ]);
  expect(await readFileHistory(join(root, 'step=2.ckpt'))).toMatchObject({ source: 'files' });
});

it('has no history of an empty folder', async () => {
  const root = temporaryFolder();
  mkdirSync(join(root, 'logs'));
  expect(await readHistory(root)).toEqual([]);
});

it.each([
  ['cut by a crash', '{"kind":"saved","path":"/a","glob'],
  ['no JSON', 'saved a'],
  ['no object', '[1]'],
  ['of no known kind', '{"kind":"exploded","path":"/a"}'],
  ['without a path', '{"kind":"removed","path":7}'],
  ['nested without end', '['.repeat(10_000)],
  ['with a poisoned key', '{"__proto__":{"kind":"saved"},"kind":"saved","path":"/a"}'],
])('passes over a line that is %s', (_, line) => {
  const good = '{"kind":"saved","path":"/b","globalStep":3,"score":{"$number":"Infinity"}}';
  expect(parseJournal(`${line}\n${good}`)).toMatchObject([
    { path: '/b', globalStep: 3, score: Infinity, at: null, monitor: null },
  ]);
});

it('reads the end of a journal that is far too long', async () => {
  const root = temporaryFolder();
  await train(root, [0.5]);
  const path = join(root, '.highwater/history.jsonl');
  const line = readFileSync(path, 'utf8');
  writeFileSync(path, `${' '.repeat(17 * 2 ** 20)}\n${line}`);
  expect((await readHistory(root))[0]?.events).toHaveLength(1);
});
