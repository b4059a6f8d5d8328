import { readdir, utimes, writeFile } from 'node:fs/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/storages/local/file-system.ts';
import { type Owner, self } from '../../src/storages/local/owner.ts';
import {
  claimName,
  isTemporaryName,
  ownerOf,
  temporaryName,
} from '../../src/storages/local/temporary-name.ts';
import { localFiles } from '../../src/storages/local.ts';
import { newFolder } from './local-folder.ts';
import { observed, systemError } from './observed-file-system.ts';

/** More than any system gives out. */
const NO_PID = 999_999_999;
const HOUR_MS = 3_600_000;

let root: string;
beforeEach(async () => {
  root = await newFolder();
});

/** Leaves a file of that name that was last written `ageMs` ago; whether a sweep takes it. */
async function isSwept(name: string, ageMs: number): Promise<boolean> {
  const path = `${root}/${name}`;
  await writeFile(path, 'abc');
  const time = (Date.now() - ageMs) / 1000;
  await utimes(path, time, time);
  const swept = await localFiles().sweep(root);
  const isGone = !(await readdir(root)).includes(name);
  expect(swept).toEqual(isGone ? [path] : []);
  return isGone;
}

const owners: [string, Partial<Owner>, ageMs: number, isSwept: boolean][] = [
  ['this process, however old', {}, 1000 * HOUR_MS, false],
  ['a process that is gone', { pid: NO_PID }, 0, true],
  ['another host', { host: 'other', pid: NO_PID }, 23 * HOUR_MS, false],
  ['another host, a day ago', { host: 'other' }, 25 * HOUR_MS, true],
  ['an earlier boot or another container', { realm: '01234567' }, 0.9 * HOUR_MS, false],
  ['an earlier boot or container, an hour ago', { realm: '01234567' }, 1.1 * HOUR_MS, true],
];
it.each(owners)('decides by the writer: %s', async (_, owner, ageMs, expected) => {
  expect(await isSwept(temporaryName({ ...self, ...owner }), ageMs)).toBe(expected);
});

describe.runIf(process.platform === 'linux')('where processes tell when they started', () => {
  it('knows that a number was given again', async () => {
    const before = { ...self, startedAt: self.startedAt - 1 };
    expect(self.startedAt).toBeGreaterThan(0);
    expect(await isSwept(temporaryName(before), 0)).toBe(true);
  });
  it('keeps the file of a process whose start it was not told', async () => {
    expect(await isSwept(temporaryName({ ...self, pid: 1, startedAt: 0 }), 0)).toBe(false);
  });
});

it('takes a claim, or a name it cannot read, for another host’s', async () => {
  for (const name of [claimName('a.ckpt'), '.highwater~from~the~future.tmp']) {
    expect(await isSwept(name, 23 * HOUR_MS)).toBe(false);
    expect(await isSwept(name, 25 * HOUR_MS)).toBe(true);
  }
});

it('leaves alone what is not ours, however it is called', async () => {
  const names = ['a.tmp', '.a.tmp', '.highwater', 'highwater~x.tmp', '.highwater~x.ckpt', 'a.ckpt'];
  for (const name of names) expect(await isSwept(name, 1000 * HOUR_MS), name).toBe(false);
});

it('passes over what another user left, or another process swept first', async () => {
  const name = temporaryName({ ...self, pid: NO_PID });
  await writeFile(`${root}/${name}`, 'abc');
  for (const code of ['EACCES', 'ENOENT', 'EROFS']) {
    const fs = observed(nodeFileSystem, ({ operation }) => {
      if (operation === 'unlink') throw systemError(code);
    });
    expect(await localFiles({ fs }).sweep(root)).toEqual([]);
  }
  expect(await localFiles().sweep(root)).toEqual([`${root}/${name}`]);
});

it('calls temporary files by hidden names that are short and tell their owner', () => {
  const longest: Owner = {
    host: 'h'.repeat(64),
    realm: 'abcdef01',
    pid: 4_194_304,
    startedAt: 10 ** 14,
  };
  for (const owner of [self, longest, { ...self, realm: '', startedAt: 0 }]) {
    const name = temporaryName(owner);
    expect(ownerOf(name)).toEqual(owner);
    expect(isTemporaryName(name)).toBe(true);
    expect(name).toMatch(/^\..*\.tmp$/);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(140);
  }
  expect(temporaryName()).not.toBe(temporaryName());
  expect(isTemporaryName(claimName('a'))).toBe(true);
  expect(claimName('a')).not.toBe(claimName('b'));
});
