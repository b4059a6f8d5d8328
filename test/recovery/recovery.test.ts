import { execFile, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/index.ts';
import { smallRun } from './small-run.ts';

let root: string;
let folder: string;
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'highwater-recovery-')));
  folder = join(root, 'checkpoints');
});
afterEach(() => rmSync(root, { recursive: true }));

/** Everything in the folder that can be seen, and temporary files. */
const files = (): string[] =>
  readdirSync(folder)
    .filter((name) => name !== '.highwater')
    .sort();
const stepOf = async (name: string): Promise<unknown> =>
  (await openCheckpoint(join(folder, name))).document?.globalStep;
const weightOf = async (path: string): Promise<number | undefined> => {
  const [weight] = await (await openCheckpoint(path)).loadWeights();
  return new Float32Array(weight?.bytes.slice().buffer ?? new ArrayBuffer(0))[0];
};

describe('a run that was killed between two names of one save', () => {
  it('gives the file the name that is missing, removes what was to go, and ends as the unbroken run', async () => {
    const copies = join(root, 'copies');
    const whole = await smallRun(folder, {
      saveLast: true,
      onHook: (hook, { bestModelPath }) => {
        const step = basename(bestModelPath, '.ckpt');
        if (hook === 'trainBatchEnd') cpSync(folder, join(copies, step), { recursive: true });
      },
    });
    const expected = files();
    // As it was after the first name of step 3: the last file is of step 2, and step 1 is still there.
    rmSync(folder, { recursive: true });
    cpSync(join(copies, 'step=2'), folder, { recursive: true });
    cpSync(join(copies, 'step=3/step=3.ckpt'), join(folder, 'step=3.ckpt'));
    expect(files()).toEqual(['last.ckpt', 'step=1.ckpt', 'step=2.ckpt', 'step=3.ckpt']);
    expect(await stepOf('last.ckpt')).toBe(2);

    let atStart: readonly unknown[] = [];
    const resumed = await smallRun(folder, {
      saveLast: true,
      ckptPath: 'last',
      onHook: async (hook) => {
        if (hook === 'trainStart') atStart = [files(), await stepOf('last.ckpt')];
      },
    });
    expect(atStart).toEqual([['last.ckpt', 'step=2.ckpt', 'step=3.ckpt'], 3]);
    expect(files()).toEqual(expected);
    expect(await stepOf('last.ckpt')).toBe(4);
    expect(resumed.weight).toBe(whole.weight);
  });

  it('makes the link that is missing, relative to its folder', async () => {
    await smallRun(folder, { saveLast: 'link' });
    expect(readlinkSync(join(folder, 'last.ckpt'))).toBe('step=4.ckpt');
    rmSync(join(folder, 'last.ckpt'));
    await smallRun(folder, { saveLast: 'link', ckptPath: join(folder, 'step=4.ckpt') });
    expect(lstatSync(join(folder, 'last.ckpt')).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(folder, 'last.ckpt'))).toBe('step=4.ckpt');
  });
});

it('the temporary files of a process that was killed are swept when the next run starts; those of a living one stay', async () => {
  const writing = async (): Promise<ReturnType<typeof spawn>> => {
    const script = ['--import', 'tsx', 'test/storages/local-writer-process.ts', folder];
    const child = spawn(process.execPath, script, { stdio: ['pipe', 'pipe', 'inherit'] });
    await new Promise<void>((resolve) => {
      child.stdout?.on('data', (text: Buffer) => {
        if (`${text}`.includes('ready')) child.stdin?.write('-\n');
        if (`${text}`.includes('started')) resolve();
      });
    });
    return child;
  };
  const [killed, living] = await Promise.all([writing(), writing()]);
  try {
    expect(files().filter((name) => name.endsWith('.tmp'))).toHaveLength(2);
    killed.kill('SIGKILL');
    await new Promise((resolve) => killed.once('close', resolve));
    await smallRun(folder);
    const left = files().filter((name) => name.endsWith('.tmp'));
    expect(left).toHaveLength(1);
    expect(left[0]).toContain(`~${living.pid}~`);
  } finally {
    living.kill('SIGKILL');
  }
});

describe('of damaged files', () => {
  const damage = (name: string): void => truncateSync(join(folder, name), 100);

  it.each([
    ['the newest', ['step=4.ckpt'], 3],
    ['several', ['step=4.ckpt', 'step=3.ckpt'], 2],
    ['one in the middle', ['step=3.ckpt'], 4],
  ])(
    '%s: each is set aside, and the next older whole one is gone on from',
    async (_, damaged, from) => {
      const whole = await smallRun(folder, { saveTopK: -1 });
      for (const name of damaged) damage(name);
      const { messages, weight } = await smallRun(folder, { saveTopK: -1, ckptPath: 'last' });
      expect(
        messages.some((text) => text.startsWith(`resumed from ${folder}/step=${from}.ckpt`)),
      ).toBe(true);
      for (const name of damaged) {
        expect(files()).toContain(`${name}.corrupt`);
        expect(
          messages.filter((text) => text.includes(`set aside as '${folder}/${name}.corrupt'`)),
        ).toHaveLength(1);
      }
      expect(weight).toBe(whole.weight);
    },
  );

  it('none: a sound file of PyTorch is reported and left where it is', async () => {
    await smallRun(folder);
    const theirs = Buffer.from('PK\x03\x04\0\0\b\b\0\0'.padEnd(64, '\0'), 'latin1');
    writeFileSync(join(folder, 'theirs.ckpt'), theirs);
    const { messages } = await smallRun(folder, { ckptPath: 'last' });
    expect(readFileSync(join(folder, 'theirs.ckpt'))).toEqual(theirs);
    expect(files().filter((name) => name.includes('corrupt'))).toEqual([]);
    expect(
      messages.filter((text) => /theirs\.ckpt.*zip archive.*left as it is/.test(text)),
    ).toHaveLength(1);
    expect(messages.some((text) => text.startsWith(`resumed from ${folder}/step=4.ckpt`))).toBe(
      true,
    );
  });

  it('all: the run starts afresh, and they are still there', async () => {
    const whole = await smallRun(folder, { saveLast: true });
    const all = files();
    for (const name of all) damage(name);
    const { messages, weight } = await smallRun(folder, { saveLast: true, ckptPath: 'last' });
    expect(messages.filter((text) => text.startsWith('resumed'))).toEqual([]);
    expect(weight).toBe(whole.weight);
    expect(files()).toEqual([...all, ...all.map((name) => `${name}.corrupt`)].sort());
    expect(await stepOf('last.ckpt')).toBe(4);
  });
});

describe('a best file that is gone', () => {
  it('is reported and forgotten, and does not block new saves', async () => {
    // The smallest `odd` is that of step 1.
    const options = { monitor: 'odd', saveTopK: 1, saveLast: true, epochs: 1 } as const;
    const first = await smallRun(folder, options);
    expect(basename(first.checkpoint.bestModelPath)).toBe('step=1.ckpt');
    rmSync(first.checkpoint.bestModelPath);
    const { checkpoint, messages } = await smallRun(folder, {
      ...options,
      ckptPath: 'last',
      epochs: 2,
    });
    expect(messages.filter((text) => text.includes("step=1.ckpt' is gone"))).toHaveLength(1);
    expect(basename(checkpoint.bestModelPath)).toBe('step=3.ckpt');
    expect(existsSync(checkpoint.bestModelPath)).toBe(true);
  });

  it("is an error for 'best', by its name", async () => {
    const options = { monitor: 'odd', saveTopK: 1, saveLast: true } as const;
    const { checkpoint } = await smallRun(folder, options);
    rmSync(checkpoint.bestModelPath);
    const attempt = smallRun(folder, { ...options, ckptPath: 'best' });
    await expect(attempt).rejects.toMatchObject({ code: 'CHECKPOINT_NOT_FOUND' });
    await expect(attempt).rejects.toThrow(checkpoint.bestModelPath);
  });
});

it('in a folder that was moved, the run goes on; only the best path is taken over, and no old file is removed', async () => {
  const first = await smallRun(folder, { saveLast: true, epochs: 1 });
  const moved = join(root, 'moved');
  renameSync(folder, moved);
  const before = readdirSync(moved);
  const { checkpoint, messages, weight } = await smallRun(moved, {
    saveLast: true,
    ckptPath: 'last',
  });
  expect(weight).toBe(4);
  expect(messages.filter((text) => text.includes('only bestModelPath is taken over'))).toHaveLength(
    1,
  );
  expect(existsSync(folder)).toBe(false);
  expect(readdirSync(moved)).toEqual(expect.arrayContaining(before));
  // What is kept from here on is the run's own; the old last file is nobody's, so it is left alone.
  expect([...checkpoint.bestKModels.keys()].map((path) => basename(path))).toEqual([
    'step=3.ckpt',
    'step=4.ckpt',
  ]);
  expect(basename(checkpoint.lastModelPath)).toBe('last-v1.ckpt');
  expect(first.checkpoint.bestModelPath.startsWith(folder)).toBe(true);
});

it('another dirpath takes over the best path, with a warning, and touches nothing in the old one', async () => {
  const first = await smallRun(folder, { monitor: 'odd', saveTopK: 1, epochs: 1 });
  const before = files();
  const elsewhere = join(root, 'elsewhere');
  const ckptPath = first.checkpoint.bestModelPath;
  let atStart = '';
  const { checkpoint, messages } = await smallRun(elsewhere, {
    monitor: 'odd',
    saveTopK: 1,
    ckptPath,
    onHook: (hook, { bestModelPath }) => {
      if (hook === 'trainStart') atStart = bestModelPath;
    },
  });
  expect(atStart).toBe(ckptPath);
  expect(messages.filter((text) => text.includes('only bestModelPath is taken over'))).toHaveLength(
    1,
  );
  expect(files()).toEqual(before);
  expect(checkpoint.bestModelPath.startsWith(elsewhere)).toBe(true);
});

it('two processes that train into one folder at the same time both finish, and neither touches what the other keeps', async () => {
  const train = async (mark: number): Promise<readonly string[]> => {
    const script = [
      '--import',
      'tsx',
      fileURLToPath(new URL('./shared-folder-process.ts', import.meta.url)),
      folder,
      String(mark),
    ];
    const { stdout } = await promisify(execFile)(process.execPath, script);
    return JSON.parse(stdout) as string[];
  };
  const marks = [1000, 2000];
  const kept = await Promise.all(marks.map(train));
  expect(new Set(kept.flat()).size).toBe(8);
  for (const [i, paths] of kept.entries()) {
    for (const path of paths) {
      const mark = (await weightOf(path)) ?? 0;
      expect(mark - (mark % 1000)).toBe(marks[i]);
    }
  }
  expect(files()).toEqual(
    kept
      .flat()
      .map((path) => basename(path))
      .sort(),
  );
});

describe('of a run that was killed, when another took free names in its folder before it is resumed,', () => {
  const other = { mark: 1000, filename: '{step}', saveTopK: -1, epochs: 1 };

  it('a file that it had removed stays, though the name is the same', async () => {
    const { checkpoint } = await smallRun(folder, { saveTopK: 1, epochs: 1 });
    expect(files()).toEqual(['step=2.ckpt']);
    await smallRun(folder, other);
    expect(files()).toEqual(['step=1.ckpt', 'step=2-v1.ckpt', 'step=2.ckpt']);
    await smallRun(folder, { saveTopK: 1, ckptPath: checkpoint.bestModelPath });
    expect(files()).toEqual(['step=1.ckpt', 'step=2-v1.ckpt', 'step=2.ckpt', 'step=4.ckpt']);
    expect(await weightOf(join(folder, 'step=1.ckpt'))).toBe(1001);
  });

  it("a name that it had not made yet stays the other one's, now and at every later save", async () => {
    const { checkpoint: cutShort } = await smallRun(folder, { saveLast: true });
    rmSync(cutShort.lastModelPath);
    await smallRun(folder, { ...other, saveLast: true });
    const ckptPath = join(folder, 'step=4.ckpt');
    const { checkpoint } = await smallRun(folder, { saveLast: true, ckptPath, epochs: 3 });
    expect(await weightOf(join(folder, 'last.ckpt'))).toBe(1002);
    expect(basename(checkpoint.lastModelPath)).toBe('last-v1.ckpt');
    expect(await weightOf(checkpoint.lastModelPath)).toBe(6);
  });
});

it('a lowered saveTopK removes the surplus at the next save, the worst first', async () => {
  await smallRun(folder, { saveTopK: 4 });
  expect(files()).toEqual(['step=1.ckpt', 'step=2.ckpt', 'step=3.ckpt', 'step=4.ckpt']);
  const { checkpoint } = await smallRun(folder, {
    saveTopK: 2,
    ckptPath: join(folder, 'step=4.ckpt'),
    epochs: 3,
    onHook: (hook) => {
      // Nothing goes before a new file is durable.
      if (hook === 'trainStart') expect(files()).toHaveLength(4);
    },
  });
  expect([...checkpoint.bestKModels.keys()].map((path) => basename(path))).toEqual([
    'step=5.ckpt',
    'step=6.ckpt',
  ]);
  // The file that the run was resumed from is never removed.
  expect(files()).toEqual(['step=4.ckpt', 'step=5.ckpt', 'step=6.ckpt']);
});

describe('with changed options a callback is another one, that begins with nothing and removes nothing', () => {
  it.each([
    ['monitor', { monitor: 'odd' }],
    ['mode', { mode: 'max' }],
    ['trigger', { everyNTrainSteps: 2 }],
  ] as const)('%s', async (_, changed) => {
    await smallRun(folder, { epochs: 1 });
    const before = files();
    const { checkpoint, weight } = await smallRun(folder, { ...changed, ckptPath: 'last' });
    expect(weight).toBe(4);
    expect(files()).toEqual(expect.arrayContaining(before));
    const kept = [...checkpoint.bestKModels.keys()].map((path) => basename(path));
    expect(kept.length).toBeGreaterThan(0);
    expect(kept.filter((name) => before.includes(name))).toEqual([]);
  });

  it('saveTopK, saveLast and filename are not among them', async () => {
    await smallRun(folder, { epochs: 1 });
    const changed = {
      saveTopK: 3,
      saveLast: true,
      filename: 'x-{step}',
      ckptPath: 'last',
    } as const;
    const { checkpoint } = await smallRun(folder, changed);
    const kept = [...checkpoint.bestKModels.keys()].map((path) => basename(path));
    expect(kept).toEqual(['step=2.ckpt', 'x-step=3.ckpt', 'x-step=4.ckpt']);
  });
});
