import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';
import { localFiles } from '../../src/storages/local.ts';
import { newFolder, temporariesIn } from './local-folder.ts';

const program = fileURLToPath(new URL('local-writer-process.ts', import.meta.url));

/** A real process that publishes what it is told to. */
interface Writer {
  readonly pid: number;
  readonly child: ChildProcess;
  /** Tells it a name; resolves to its answer. */
  publish(name: string): Promise<string>;
}

/** Starts one; `before` is a command that starts it in its turn. */
async function startWriter(args: string[], before: string[] = []): Promise<Writer> {
  const [command = '', ...rest] = [
    ...before,
    process.execPath,
    '--import',
    'tsx',
    program,
    ...args,
  ];
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => (await answers.next()).value ?? 'gone';
  const [, pid] = (await next()).split(' ');
  return {
    pid: Number(pid),
    child,
    publish(name) {
      child.stdin.write(`${name}\n`);
      return next();
    },
  };
}

it('sweeps what a process left, as soon as it was killed and no sooner', async () => {
  const folder = await newFolder();
  const writer = await startWriter([folder]);
  expect(await writer.publish('-')).toBe('started');
  expect(await localFiles().sweep(folder)).toEqual([]);
  expect(await temporariesIn(folder)).toHaveLength(1);
  writer.child.kill('SIGKILL');
  await once(writer.child, 'exit');
  expect(await localFiles().sweep(folder)).toHaveLength(1);
  expect(await temporariesIn(folder)).toEqual([]);
});

it.runIf(process.platform === 'linux')(
  'sees that a process nobody waited for is dead',
  async () => {
    const folder = await newFolder();
    // The shell becomes a program that never asks how its child has ended, which stays a zombie.
    const script = '"$@" <&3 3<&- & exec 3<&-; exec sleep 60';
    const writer = await startWriter([folder], ['sh', '-c', `exec 3<&0; ${script}`, 'sh']);
    expect(await writer.publish('-')).toBe('started');
    expect(await localFiles().sweep(folder)).toEqual([]);
    process.kill(writer.pid, 'SIGKILL');
    await expect.poll(() => readFile(`/proc/${writer.pid}/stat`, 'latin1')).toMatch(/\) Z /);
    expect(await localFiles().sweep(folder)).toHaveLength(1);
  },
);

it.each(['links', 'no-links'])('lets one of two processes take a name (%s)', async (disk) => {
  const folder = await newFolder();
  const writers = await Promise.all([startWriter([folder, disk]), startWriter([folder, disk])]);
  for (let round = 0; round < 100; round++) {
    const answers = await Promise.all(writers.map((writer) => writer.publish(`${round}.ckpt`)));
    expect(answers.toSorted()).toEqual(['Conflict', 'won']);
    const winner = writers[answers.indexOf('won')]?.pid ?? 0;
    expect(await readFile(`${folder}/${round}.ckpt`, 'utf8')).toBe(`${winner}`);
    // Lets neither always be the first.
    await setTimeout(round % 3);
  }
  expect(await temporariesIn(folder)).toEqual([]);
});
