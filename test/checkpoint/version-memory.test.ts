import { describe, expect, it } from 'vitest';
import { firstFreeName } from '../../src/checkpoint/file-name.ts';
import { VersionMemory } from '../../src/checkpoint/version-memory.ts';

const spell = (version: number | undefined): string =>
  version === undefined ? '/c/model.ckpt' : `/c/model-v${version}.ckpt`;

/** Saves under one name that find what is free with the memory's help, and count how often they ask. */
function folder() {
  const memory = new VersionMemory();
  const files = new Set<string>();
  const found = {
    asked: 0,
    save(own: readonly string[] = []): string {
      const isTaken = (path: string): boolean => {
        found.asked++;
        return files.has(path) && !own.includes(path);
      };
      const path = firstFreeName(spell, isTaken, memory.first('/c/model.ckpt', own, 1));
      // What trying all would find.
      expect(path).toBe(firstFreeName(spell, (p) => files.has(p) && !own.includes(p), 1));
      files.add(path);
      memory.taken(path);
      return path;
    },
    remove(path: string): void {
      files.delete(path);
      memory.free(path);
    },
  };
  return found;
}

describe('VersionMemory', () => {
  it('finds the name that trying all would find, without trying them all', () => {
    const { save, remove } = folder();
    for (let i = 0; i < 1000; i++) save();
    for (const version of [700, undefined, 30]) remove(spell(version));
    expect(save()).toBe(spell(undefined));
    expect(save()).toBe(spell(30));
    expect(save([spell(5)])).toBe(spell(5));
    expect(save()).toBe(spell(700));
    expect(save()).toBe(spell(1000));
  });

  it('asks a few times a save, also when old versions go and come again', () => {
    const files = folder();
    for (let i = 0; i < 1000; i++) files.save();
    files.asked = 0;
    for (let i = 1; i < 1000; i += 7) {
      files.save([spell(i)]);
      files.remove(spell(1000 - i));
      files.save();
    }
    expect(files.asked).toBeLessThan(4 * 2 * 143);
  });

  it('knows nothing of names without a version, and of other folders', () => {
    const memory = new VersionMemory();
    memory.taken('/c/a.ckpt');
    memory.free('/c/a.ckpt');
    memory.free('/c/b-v2.ckpt');
    expect(memory.first('/c/a.ckpt', ['/c/b-v2.ckpt'], 1)).toBe(1);
    memory.taken('/c/x-v2/a.ckpt');
    expect(memory.first('/c/x/a.ckpt', [], 3)).toBe(3);
  });
});
