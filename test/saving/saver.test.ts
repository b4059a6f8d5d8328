import { describe, expect, it } from 'vitest';
import { memoryFiles, openCheckpoint, type Storage, StorageError } from '../../src/index.ts';
import { journalPath } from '../../src/saving/journal.ts';
import type { JournalLine, SaveJob, SaveName, SaveReport } from '../../src/saving/save-job.ts';
import { Saver } from '../../src/saving/saver.ts';
import type { Snapshot } from '../../src/saving/snapshot.ts';

const name = (path: string, more: Partial<SaveName> = {}): SaveName => ({
  path,
  role: 'user',
  replaces: false,
  weightsOnly: false,
  ...more,
});

const job = (path: string, more: Partial<SaveJob> = {}): SaveJob => ({
  names: [name(path)],
  removals: [],
  journal: [],
  isAwaited: false,
  ...more,
});

const state = (more: Partial<Snapshot> = {}): Snapshot => ({
  document: { globalStep: 1 },
  tensors: [],
  release() {},
  ...more,
});

const bad = (what: string) => (): never => {
  throw new Error(what);
};

/** A memory in which nothing can be written under this name. */
function refusing(path: string): Storage {
  const storage = memoryFiles();
  const full = new StorageError('NoSpace', path, `No space for '${path}'.`);
  return {
    ...storage,
    writer: (target) => (target === path ? Promise.reject(full) : storage.writer(target)),
  };
}

describe('the writer goes on with what waits', () => {
  it('when a state cannot be released: the error is thrown by the next call', async () => {
    const storage = memoryFiles();
    const saver = new Saver({ storage });
    await saver.submit(job('/c/a.ckpt'), async () => state({ release: bad('disposed twice') }));
    await saver.submit(job('/c/b.ckpt'), async () => state());
    await expect(saver.flush()).rejects.toThrow(
      "Letting go of the state that was saved as '/c/a.ckpt' failed: disposed twice",
    );
    await saver.flush();
    expect(await storage.stat('/c/b.ckpt')).toBeDefined();
    expect(saver.pendingSaves).toBe(0);
  });

  it.each<[string, Partial<SaveJob>]>([
    ['of its name', { names: [name('/c/a.ckpt', { onFailed: bad('no console') })] }],
    ['of it', { onFailed: bad('no console') }],
  ])('when a save fails and whoever is told %s throws', async (_, told) => {
    const storage = refusing('/c/a.ckpt');
    const saver = new Saver({ storage });
    await saver.submit(job('/c/a.ckpt', told), async () => state());
    await saver.submit(job('/c/b.ckpt'), async () => state());
    await expect(saver.flush()).rejects.toThrow(
      "Reporting the failed save of '/c/a.ckpt' failed: no console",
    );
    expect(await storage.stat('/c/b.ckpt')).toBeDefined();
  });
});

it('a state that is being captured while an earlier file gets another name is stored with the new one', async () => {
  const storage = memoryFiles();
  const saver = new Saver({ storage });
  const took = await storage.writer('/c/a.ckpt');
  await took.publish({ replace: false });
  let renamed = (): void => {};
  const hasNewName = new Promise<void>((resolve) => {
    renamed = resolve;
  });
  await saver.submit(job('/c/a.ckpt', { onRenamed: () => renamed() }), async () => state());
  await saver.submit(job('/c/b.ckpt'), async () => {
    const callbacks = { kept: ['/c/a.ckpt'] };
    await hasNewName;
    return state({ document: { globalStep: 2, callbacks } });
  });
  await saver.flush();
  const { document } = await openCheckpoint('/c/b.ckpt', { storage });
  expect(document?.callbacks).toEqual({ kept: ['/c/a-v1.ckpt'] });
});

describe('a save that is durable is told of as one', () => {
  it('when a file that was to go cannot be removed: the others are, and the error names what is left', async () => {
    const files = memoryFiles();
    const storage: Storage = {
      ...files,
      remove: (path) =>
        path === '/c/x.ckpt'
          ? Promise.reject(new StorageError('Permission', path, 'It is read-only.'))
          : files.remove(path),
    };
    for (const old of ['x', 'y']) {
      const writer = await files.writer(`/c/${old}.ckpt`);
      await writer.publish({ replace: false });
    }
    const durable: unknown[] = [];
    const saver = new Saver({ storage });
    const removals = ['x', 'y'].map((old) => ({ path: `/c/${old}.ckpt`, reason: 'old' }));
    const onDurable = ({ paths }: SaveReport): unknown => durable.push(paths);
    await saver.submit(job('/c/a.ckpt', { removals, onDurable }), async () => state());
    await expect(saver.flush()).rejects.toMatchObject({
      code: 'SAVE_FAILED',
      message:
        "'/c/a.ckpt' is saved, but '/c/x.ckpt' could not be removed, and is left over: It is read-only.",
      details: { left: ['/c/x.ckpt'] },
    });
    expect(durable).toEqual([['/c/a.ckpt']]);
    expect(await storage.stat('/c/y.ckpt')).toBeUndefined();
  });

  it('to listeners that take their time, and may wait for saves: only finish waits for them', async () => {
    const storage = memoryFiles();
    const saver = new Saver({ storage });
    const told: string[] = [];
    let upload = (): void => {};
    const uploaded = new Promise<void>((resolve) => {
      upload = resolve;
    });
    const announce = async (): Promise<void> => {
      await saver.flush();
      await uploaded;
      told.push('a');
    };
    await saver.submit(job('/c/a.ckpt', { announce }), async () => state());
    const second = job('/c/b.ckpt', { announce: async () => void told.push('b') });
    await saver.submit(second, async () => state());
    await saver.flush();
    expect(await storage.stat('/c/b.ckpt')).toBeDefined();
    expect(told).toEqual([]);
    upload();
    await saver.finish();
    expect(told).toEqual(['a', 'b']);
  });
});

describe('the journal tells what has come true, in the order in which it was decided', () => {
  const line = (kind: string, path?: string): JournalLine => ({
    folder: '/c',
    line: { kind, path },
  });

  async function journalOf(storage: Storage): Promise<unknown[]> {
    const text = new TextDecoder().decode(await storage.read(journalPath('/c')));
    const lines = text
      .trimEnd()
      .split('\n')
      .map((json) => JSON.parse(json) as JournalLine['line']);
    return lines.map(({ kind, path }) => (path === undefined ? kind : `${kind} ${path}`));
  }

  it('a file that another process took the name of has the name that it got', async () => {
    const storage = memoryFiles();
    await (await storage.writer('/c/a.ckpt')).publish({ replace: false });
    const saver = new Saver({ storage });
    const journal = [line('saved', '/c/a.ckpt')];
    await saver.submit(job('/c/a.ckpt', { journal }), async () => state());
    saver.note([line('rejected')]);
    const removals = [{ path: '/c/a.ckpt', reason: 'old' }];
    const second = [line('saved', '/c/b.ckpt'), line('removed', '/c/a.ckpt')];
    await saver.submit(job('/c/b.ckpt', { removals, journal: second }), async () => state());
    await saver.flush();
    saver.note([line('waiting')]);
    await saver.flush();
    expect(await journalOf(storage)).toEqual([
      'saved /c/a-v1.ckpt',
      'rejected',
      'saved /c/b.ckpt',
      'removed /c/a-v1.ckpt',
      'waiting',
    ]);
  });

  it('what a save that failed was to do is not in it, what was rejected beside it is', async () => {
    const storage = refusing('/c/a.ckpt');
    const saver = new Saver({ storage });
    const removals = [{ path: '/c/x.ckpt', reason: 'old' }];
    const lines = [line('rejected'), line('saved', '/c/a.ckpt'), line('removed', '/c/x.ckpt')];
    await saver.submit(job('/c/a.ckpt', { removals, journal: lines }), async () => state());
    await expect(saver.flush()).rejects.toMatchObject({ code: 'SAVE_FAILED' });
    expect(await journalOf(storage)).toEqual(['rejected']);
  });
});
