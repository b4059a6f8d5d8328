import {
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { memoryFiles } from '../../src/index.ts';
import { type PruneRules, planPrune, prune, readFileHistory } from '../../src/inspection/index.ts';
import { f32, temporaryFolder, train, writeForeign } from './runs.ts';

async function pruned(folder: string, rules: PruneRules) {
  return await prune(await planPrune(folder, rules));
}
const files = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name !== '.highwater')
    .sort();

it('removes what the plan says, and notes it in the journal', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25, 0.75], { saveTopK: -1, saveLast: true });
  expect(await pruned(root, { keepTop: 1, keepLast: 1 })).toEqual({
    removed: [join(root, 'step=1.ckpt'), join(root, 'step=3.ckpt')],
    left: [],
  });
  expect(files(root)).toEqual(['last.ckpt', 'step=2.ckpt']);
  const { fate } = await readFileHistory(join(root, 'step=1.ckpt'));
  expect(fate?.removed?.reason).toBe('pruned: not the best, not the newest');
});

it('removes nothing while it plans', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25], { saveTopK: -1 });
  await planPrune(root, { keepTop: 1 });
  expect(files(root)).toHaveLength(2);
});

it('keeps what a linked last file leads to, and takes away both when both go', async () => {
  const root = temporaryFolder();
  await train(root, [0.25, 0.5], { saveTopK: -1, saveLast: 'link' });
  expect(lstatSync(join(root, 'last.ckpt')).isSymbolicLink()).toBe(true);
  await pruned(root, { keepLast: 1 });
  expect(files(root)).toEqual(['last.ckpt', 'step=2.ckpt']);
  await train(root, [0.25], { saveTopK: -1 });
  await pruned(root, { keepTop: 1 });
  expect(files(root)).toEqual(['step=1.ckpt']);
});

it('takes one of two hard links, and the other stays whole', async () => {
  const root = temporaryFolder();
  await train(root, [0.25, 0.5], { saveTopK: -1 });
  linkSync(join(root, 'step=2.ckpt'), join(root, 'mine.ckpt'));
  await pruned(root, { keepLast: 1 });
  expect(files(root)).toHaveLength(1);
});

it('removes a link out of the folder, and nothing that it leads to', async () => {
  const [root, elsewhere] = [temporaryFolder(), temporaryFolder()];
  await train(elsewhere, [0.75]);
  await train(root, [0.25], {});
  symlinkSync(join(elsewhere, 'step=1.ckpt'), join(root, 'guest.ckpt'));
  symlinkSync(elsewhere, join(root, 'folder'));
  await pruned(root, { keepTop: 1 });
  expect(files(root)).toEqual(['folder', 'step=1.ckpt']);
  expect(files(elsewhere)).toEqual(['step=1.ckpt']);
});

it('keeps the best of a run whose names make folders', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25], { saveTopK: -1, filename: '{step}/{loss}' });
  const { removed } = await pruned(root, { keepTop: 1 });
  expect(removed).toEqual([join(root, 'step=1/loss=0.5.ckpt')]);
});

it('keeps the best of each folder, and leaves what is not its own', async () => {
  const root = temporaryFolder();
  await train(join(root, 'a'), [0.5, 0.25], { saveTopK: -1 });
  await train(join(root, 'b'), [0.75, 0.875], { saveTopK: -1 });
  writeForeign(join(root, 'a/theirs.safetensors'), [f32('w', [1])]);
  writeFileSync(join(root, 'b/broken.ckpt'), 'broken');
  await pruned(root, { keepTop: 1 });
  expect(files(join(root, 'a'))).toEqual(['step=2.ckpt', 'theirs.safetensors']);
  expect(files(join(root, 'b'))).toEqual(['broken.ckpt', 'step=1.ckpt']);
});

it('removes nothing when what would stay is damaged where only its data tell', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25], { saveTopK: -1 });
  const best = join(root, 'step=2.ckpt');
  const bytes = readFileSync(best);
  bytes[bytes.length - 1] = 0xff;
  writeFileSync(best, bytes);
  const plan = await planPrune(root, { keepTop: 1 });
  await expect(prune(plan)).rejects.toThrow(/Nothing is removed.*none.*is sound/);
  expect(files(root)).toHaveLength(2);
});

it('leaves a file that has changed since the plan was made, or is gone already', async () => {
  const root = temporaryFolder();
  await train(root, [0.5, 0.25, 0.125], { saveTopK: -1 });
  const plan = await planPrune(root, { keepTop: 1 });
  writeFileSync(join(root, 'step=1.ckpt'), 'somebody wrote here');
  const { removed, left } = await prune(plan);
  expect(removed).toEqual([join(root, 'step=2.ckpt')]);
  expect(left).toEqual([{ path: join(root, 'step=1.ckpt'), problem: 'it has changed since' }]);
  expect((await prune(plan)).left.map(({ problem }) => problem)).toEqual([
    'it has changed since',
    'it is gone already',
  ]);
});

it('refuses a plan that reaches out of its folder', async () => {
  const storage = memoryFiles();
  await train('/run', [0.5, 0.25], { saveTopK: -1 }, { storage });
  const [plan] = await planPrune('/run', { keepTop: 1 }, { storage });
  await expect(prune([{ ...plan!, folder: '/run/below' }], { storage })).rejects.toThrow(
    'is not inside',
  );
});

it('does not follow a link that has taken the place of a folder since the plan was made', async () => {
  const [root, elsewhere] = [temporaryFolder(), temporaryFolder()];
  await train(root, [0.5, 0.25], { saveTopK: -1, filename: '{step}/{loss}' });
  const plan = await planPrune(root, { keepTop: 1 });
  renameSync(join(root, 'step=1'), join(elsewhere, 'step=1'));
  symlinkSync(join(elsewhere, 'step=1'), join(root, 'step=1'));
  await expect(prune(plan)).rejects.toThrow('a link leads there');
  expect(files(join(elsewhere, 'step=1'))).toEqual(['loss=0.5.ckpt']);
});

it('says in which folder there is nothing to rank by', async () => {
  const root = temporaryFolder();
  await train(join(root, 'a'), [0.5, 0.25], { saveTopK: -1 });
  await train(join(root, 'b'), [0.5], { monitor: null });
  await expect(planPrune(root, { keepTop: 1 })).rejects.toThrow(
    `'${join(root, 'b')}': prune: keepTop needs scores`,
  );
});

it('refuses rules that make no sense in an empty folder too', async () => {
  const root = temporaryFolder();
  await expect(planPrune(root, {})).rejects.toThrow('say what stays');
  expect(await planPrune(root, { keepLast: 1 })).toEqual([]);
});
