import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { JsonObject } from '../../src/format/json.ts';
import { RichRun } from './rich-run.ts';

let run: RichRun;
beforeAll(async () => {
  run = await RichRun.begin();
});
afterAll(() => run.end());

/** A document that claims a file in every place where a path can stand. */
function claiming(path: string, more: JsonObject = {}): JsonObject {
  const { document } = run.parts;
  const callbacks = Object.entries(document.callbacks as JsonObject).map(([key, state]) => {
    const claimed = {
      bestModelPath: path,
      kthBestModelPath: path,
      lastModelPath: path,
      topKSavedPath: path,
      bestKModels: [[path, 1e9]],
      kthValue: 1e9,
      ...more,
    };
    return [
      key,
      key.startsWith('ModelCheckpoint') ? { ...(state as JsonObject), ...claimed } : state,
    ];
  });
  const name = { path, role: 'last', weightsOnly: false };
  return {
    ...document,
    callbacks: Object.fromEntries(callbacks),
    save: {
      names: [name, { ...name, path: `${path}-new` }, { ...name, linkTo: path }],
      removals: [path],
    },
  };
}

const outside: Readonly<Record<string, (checkpoints: string) => string>> = {
  'an absolute path': () => join(run.root, 'outside/secret.ckpt'),
  'a path with ..': (checkpoints) => `${checkpoints}/../../secret.ckpt`,
  'a path through a link that leads outside': (checkpoints) => `${checkpoints}/link/secret.ckpt`,
  'a path with .. behind a link': (checkpoints) => `${checkpoints}/link/../link/secret.ckpt`,
  'a relative path': () => '../secret.ckpt',
};

describe('whatever a checkpoint claims to own, a resume that saves and removes touches nothing outside', () => {
  it.each(Object.keys(outside))('%s', async (kind) => {
    const checkpoints = join(run.folder, 'checkpoints');
    const path = outside[kind]?.(checkpoints) ?? '';
    run.reset({ ...run.parts, document: claiming(path) });
    symlinkSync(join(run.root, 'outside'), join(checkpoints, 'link'));
    await run.resume();
    expect(run.damage()).toBeUndefined();
    expect(existsSync(run.file)).toBe(true);

    run.reset({ ...run.parts, document: claiming(path, { dirpath: '/elsewhere' }) });
    symlinkSync(join(run.root, 'outside'), join(checkpoints, 'link'));
    await run.resume();
    expect(run.damage()).toBeUndefined();
  });

  it('/etc/passwd', async () => {
    const before = readFileSync('/etc/passwd');
    run.reset({ ...run.parts, document: claiming('/etc/passwd') });
    await run.resume();
    expect(readFileSync('/etc/passwd').equals(before)).toBe(true);
    expect(existsSync('/etc/passwd-new')).toBe(false);
  });

  it('a link in the folder itself is removed or replaced as a link', async () => {
    const link = join(run.folder, 'checkpoints/last.ckpt');
    run.reset({ ...run.parts, document: claiming(link) });
    rmSync(link, { force: true });
    symlinkSync(join(run.root, 'outside/secret.ckpt'), link);
    await run.resume();
    expect(run.damage()).toBeUndefined();
  });

  it.each(['/etc/passwd', 'outside/secret.ckpt'])("'best' does not read %s", async (claimed) => {
    const path = join(claimed.startsWith('/') ? '/' : run.root, claimed);
    // The newest, so that it is the one that is asked.
    const newest = { ...claiming(path), globalStep: 99, kind: 'full' };
    run.reset({ ...run.parts, document: newest });
    await expect(run.resume('best')).rejects.toThrow(
      /names '.*' as the best one, which is in none of this run's/s,
    );
  });

  it('a folder of another run keeps its files', async () => {
    const other = join(run.folder, 'other');
    const path = join(other, 'epoch=0.ckpt');
    run.reset({ ...run.parts, document: claiming(path) });
    mkdirSync(other);
    writeFileSync(path, 'theirs');
    await run.resume();
    expect(readFileSync(path, 'utf8')).toBe('theirs');
  });
});
