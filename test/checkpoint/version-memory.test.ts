import { describe, expect, it } from 'vitest';
import { firstFreeName } from '../../src/checkpoint/file-name.ts';
import { VersionMemory } from '../../src/checkpoint/version-memory.ts';

const versionOf = (version: number | undefined): string =>
  version === undefined ? '/c/model.ckpt' : `/c/model-v${version}.ckpt`;

describe('VersionMemory', () => {
  it('finds the name that trying all would find, without trying them all', () => {
    const memory = new VersionMemory();
    const files = new Set<string>();
    let asked = 0;
    const isTaken = (path: string): boolean => {
      asked++;
      return files.has(path);
    };
    const save = (own: readonly string[] = []): string => {
      const isFree = (path: string): boolean => isTaken(path) && !own.includes(path);
      const first = memory.first('/c/model.ckpt', own, 1);
      const path = firstFreeName(versionOf, isFree, first);
      expect(path).toBe(firstFreeName(versionOf, (p) => files.has(p) && !own.includes(p), 1));
      files.add(path);
      memory.taken(path);
      return path;
    };
    for (let i = 0; i < 1000; i++) save();
    expect(asked).toBeLessThan(5000);
    for (const version of [700, undefined, 30]) {
      files.delete(versionOf(version));
      memory.free(versionOf(version));
    }
    expect(save()).toBe('/c/model.ckpt');
    expect(save()).toBe('/c/model-v30.ckpt');
    expect(save(['/c/model-v5.ckpt'])).toBe('/c/model-v5.ckpt');
  });

  it('knows nothing of names without a version', () => {
    const memory = new VersionMemory();
    memory.taken('/c/a.ckpt');
    memory.free('/c/a.ckpt');
    expect(memory.first('/c/a.ckpt', ['/c/b-v2.ckpt'], 1)).toBe(1);
    memory.taken('/c/x-v2/a.ckpt');
    expect(memory.first('/c/x/a.ckpt', [], 3)).toBe(3);
  });
});
