import type { FileSystem } from '../../../src/storages/local/file-system.ts';
import { self } from '../../../src/storages/local/owner.ts';
import { temporaryName } from '../../../src/storages/local/temporary-name.ts';
import { FOLDER, type Workload } from './training.ts';

const filename = '{step}';
const best = { monitor: 'loss', filename };

async function put(fs: FileSystem, name: string, text: string): Promise<void> {
  for (const folder of ['/runs', FOLDER]) await fs.mkdir(folder).catch(() => {});
  const file = await fs.open(`${FOLDER}/${name}`, 'create');
  await file.writev([new TextEncoder().encode(text)], 0);
  await file.datasync();
  await fs.syncFolder(FOLDER);
}

/** Every way in which callbacks save, link, replace and remove, each as short as it can be. */
export const workloads: readonly Workload[] = [
  { name: 'newest', callbacks: [{ filename }], losses: [1, 1, 1, 1] },
  { name: 'newest-and-last', callbacks: [{ filename, saveLast: true }], losses: [1, 1, 1, 1] },
  { name: 'best', callbacks: [best], losses: [3, 4, 2, 1] },
  {
    name: 'best-2-and-last',
    callbacks: [{ ...best, saveTopK: 2, saveLast: true }],
    losses: [4, 3, 5, 2, 1, 6],
  },
  {
    name: 'best-2-and-link',
    callbacks: [{ ...best, saveTopK: 2, saveLast: 'link' }],
    losses: [4, 3, 5, 2, 1, 6],
  },
  { name: 'last-only', callbacks: [{ saveTopK: 0, saveLast: true }], losses: [1, 1, 1, 1] },
  { name: 'all', callbacks: [{ filename, saveTopK: -1, saveLast: 'link' }], losses: [1, 1, 1, 1] },
  {
    name: 'folders',
    callbacks: [{ monitor: 'loss', filename: '{step}/best', saveTopK: 2, saveLast: 'link' }],
    losses: [4, 3, 2, 1],
  },
  {
    name: 'several',
    callbacks: [
      { ...best, filename: 'best-{step}', saveLast: 'link' },
      { filename: 'new-{step}', everyNTrainSteps: 2 },
      { monitor: 'loss', filename: 'two-{step}', saveTopK: 2, everyNTrainSteps: 1 },
    ],
    losses: [3, 4, 2, 1],
  },
  {
    name: 'twins',
    callbacks: [
      { ...best, saveLast: true },
      { ...best, saveLast: true },
    ],
    losses: [3, 4, 2, 1],
  },
  {
    name: 'weights-and-full',
    callbacks: [
      { ...best, filename: 'weights-{step}', saveWeightsOnly: true },
      { filename: 'full-{step}', saveLast: true },
    ],
    losses: [4, 3, 5, 2],
  },
  {
    name: 'weights-only',
    callbacks: [{ ...best, saveTopK: 2, saveLast: true, saveWeightsOnly: true }],
    losses: [4, 3, 5, 2],
    endsOtherwise:
      'nothing can be resumed from: training begins anew, beside the files that are there',
  },
  {
    name: 'overwriting',
    callbacks: [
      { ...best, filename: 'best', enableVersionCounter: false, saveLast: true },
      { filename: 'newest', enableVersionCounter: false },
    ],
    losses: [3, 4, 2, 1],
  },
  {
    name: 'versions',
    callbacks: [{ filename: 'same', saveTopK: -1, saveLast: true }],
    losses: [1, 1, 1, 1],
  },
  {
    name: 'resumed',
    callbacks: [{ ...best, saveTopK: 2, saveLast: true }],
    losses: [4, 3, 5, 2, 1, 6],
    ends: [1, 2, 3],
  },
  {
    name: 'resumed-link',
    callbacks: [{ ...best, saveLast: 'link' }, { filename: 'new-{step}' }],
    losses: [4, 3, 5, 2],
    ends: [1, 2],
  },
  {
    name: 'stale-temporaries',
    callbacks: [{ filename, saveLast: true }],
    losses: [1, 1],
    before: async (fs) => {
      const dead = { ...self, pid: 99_999_999 };
      for (let i = 0; i < 2; i++) await put(fs, temporaryName(dead), 'half a file');
    },
  },
  {
    name: 'corrupt',
    callbacks: [{ filename, saveLast: true }],
    losses: [1, 1],
    before: (fs) => put(fs, 'damaged.ckpt', 'no checkpoint'),
  },
  {
    name: 'foreign-last',
    callbacks: [{ filename, saveLast: true }],
    losses: [1, 1],
    before: (fs) => put(fs, 'last.ckpt', 'no checkpoint'),
  },
  {
    name: 'unflushed-folder',
    callbacks: [{ filename, saveLast: true }],
    losses: [1, 1],
    // By a process that was killed before it could flush their names.
    before: async (fs) => {
      for (const folder of ['/runs', FOLDER]) await fs.mkdir(folder);
    },
  },
  {
    name: 'without-links',
    callbacks: [{ ...best, saveTopK: 2, saveLast: true }],
    losses: [4, 3, 5, 2],
    withoutLinks: true,
  },
  {
    name: 'journals',
    callbacks: [{ ...best, saveLast: true }],
    losses: [2, 1],
    journals: true,
  },
  {
    name: 'waiting-in-the-hook',
    callbacks: [{ ...best, saveLast: true }],
    losses: [3, 4, 2, 1],
    trainer: { asyncSave: false },
  },
  {
    name: 'large',
    callbacks: [{ ...best, saveLast: true }],
    losses: [2, 1],
    isLarge: true,
  },
  {
    name: 'two-processes',
    callbacks: [{ ...best, saveLast: true }],
    losses: [3, 4, 2, 1],
    processes: 2,
    endsOtherwise: 'each process has files of its own, and one of the two goes on',
  },
  {
    name: 'two-processes-without-links',
    callbacks: [{ ...best, saveLast: true }],
    losses: [2, 1],
    processes: 2,
    withoutLinks: true,
    endsOtherwise: 'each process has files of its own, and one of the two goes on',
  },
];
