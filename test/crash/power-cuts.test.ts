import { describe, expect, it } from 'vitest';
import { FolderNode } from './model/disk.ts';
import { explore } from './model/explore.ts';
import { modelFiles } from './model/model-files.ts';
import { PowerCut } from './model/power-cut.ts';
import { workloads } from './model/workloads.ts';

describe('a power cut at any moment, whatever of the unflushed changes has reached the disk', () => {
  it.each(workloads)('loses nothing that was promised: $name', async (workload) => {
    const { crashPoints, diskStates, checks, violations } = await explore(workload);
    console.log(`${crashPoints} crash points, ${diskStates} disk states, ${checks} checks`);
    expect(violations).toEqual([]);
    expect(crashPoints).toBeGreaterThan(20);
    expect(diskStates).toBeGreaterThan(10);
  });
});

/** Every state that the disk may be in after `work`, the folder `/f` being flushed before: name → text. */
async function statesAfter(
  work: (fs: ReturnType<typeof modelFiles>) => Promise<unknown>,
): Promise<string[]> {
  const root = new FolderNode(0);
  const fs = modelFiles(root);
  await fs.mkdir('/f');
  await fs.syncFolder('/');
  await work(fs);
  const found = [...new PowerCut({ journals: true }).states(root)].map(({ entries }) =>
    [...entries].flatMap(([path, entry]) =>
      entry.kind === 'folder' ? [] : [`${path.slice(3)}=${textOf(entry)}`],
    ),
  );
  return found.map((state) => state.join(' ') || 'nothing').sort();
}

const textOf = (entry: { readonly target: string } | { readonly bytes: Uint8Array }): string =>
  'target' in entry ? entry.target : new TextDecoder().decode(entry.bytes).replaceAll('\0', '_');

async function put(
  fs: ReturnType<typeof modelFiles>,
  path: string,
  ...parts: string[]
): Promise<void> {
  const file = await fs.open(path, 'create');
  const views = parts.map((part) => new TextEncoder().encode(part));
  await file.writev(views, 0);
}

describe('the model of a disk', () => {
  it('keeps what is flushed, the bytes and the name apart', async () => {
    const whole = await statesAfter(async (fs) => {
      await put(fs, '/f/a', 'AB');
      await (await fs.open('/f/a', 'append')).datasync();
      await fs.syncFolder('/f');
    });
    expect(whole).toEqual(['a=AB']);
    const nameless = await statesAfter(async (fs) => {
      await put(fs, '/f/a', 'AB');
      await (await fs.open('/f/a', 'append')).datasync();
    });
    expect(nameless).toEqual(['a=AB', 'nothing']);
  });

  it('tears writes that are not flushed, within and between their parts, at any length', async () => {
    const torn = await statesAfter(async (fs) => {
      await put(fs, '/f/a', 'AB', 'CD');
      await fs.syncFolder('/f');
    });
    expect(torn).toEqual(
      ['a=', 'a=AB', 'a=ABC', 'a=ABCD', 'a=ABC_', 'a=AB_', 'a=AB__', 'a=__']
        .concat(['a=__C', 'a=__CD', 'a=___', 'a=___D', 'a=____'])
        .sort(),
    );
  });

  it('takes any subset of the changes of one folder, each whole', async () => {
    const states = await statesAfter(async (fs) => {
      await put(fs, '/f/T', 'A');
      await (await fs.open('/f/T', 'append')).datasync();
      await fs.syncFolder('/f');
      await fs.rename('/f/T', '/f/a');
      await fs.symlink('a', '/f/b');
    });
    expect(states).toEqual(['T=A', 'T=A b=a', 'a=A', 'a=A b=a'].sort());
  });

  it('may leave both names or none of a file that changed folders', async () => {
    const states = await statesAfter(async (fs) => {
      await fs.mkdir('/f/sub');
      await put(fs, '/f/a', 'A');
      await (await fs.open('/f/a', 'append')).datasync();
      await fs.syncFolder('/f');
      await fs.rename('/f/a', '/f/sub/a');
    });
    expect(states).toEqual(['a=A', 'a=A sub/a=A', 'nothing', 'sub/a=A']);
  });

  it('loses all that is in a folder whose own name is not flushed', async () => {
    const states = await statesAfter(async (fs) => {
      await fs.mkdir('/f/sub');
      await put(fs, '/f/sub/a', 'A');
      await (await fs.open('/f/sub/a', 'append')).datasync();
      await fs.syncFolder('/f/sub');
    });
    expect(states).toEqual(['nothing', 'sub/a=A']);
  });
});
