/** One change of the sources that breaks a promise; some test must fail with it. */
export interface Mutant {
  readonly name: string;
  readonly file: string;
  /** Text that the file has exactly once. */
  readonly find: string;
  readonly replace: string;
  /** What fails: a test file, or (the default) `npm run crash:model`. */
  readonly test?: string;
  /** The workloads that are enough, and the power cuts; default all, and 1. */
  readonly workloads?: readonly string[];
  readonly cuts?: 1 | 2;
}

const writer = 'src/storages/local/writer.ts';
const naming = 'src/storages/local/naming.ts';
const folders = 'src/storages/local/folders.ts';
const local = 'src/storages/local.ts';
const system = 'src/storages/local/file-system.ts';
const saver = 'src/saving/saver.ts';
const publish = 'src/saving/publish.ts';
const durable = 'src/loggers/durable-file.ts';
const finish = 'src/saving/finish-save.ts';
const order = 'test/storages/local-order.test.ts';
const writers = 'test/crash/two-writers.test.ts';
const faults = 'test/crash/faults.test.ts';
const flushes = 'test/storages/local-flushes.test.ts';
const contract = 'test/storages/local.test.ts';
const logged = 'test/loggers/durable-file.test.ts';

const publishing = `    const bytes = await this.#publish(pending, this.#checksum);`;
/** Every flush, every atomic change of a name, and every order that something relies on, taken away. */
export const mutants: readonly Mutant[] = [
  {
    name: "a file's bytes are not flushed before it gets its name",
    file: writer,
    find: `    await file.datasync();
    stage = 'closed';`,
    replace: `    stage = 'closed';`,
  },
  {
    name: 'a file gets its name before its bytes are flushed',
    file: writer,
    find: `        if (stage === 'open') await finish();
        if (replace) await fs.rename(temporary, path);
        const hasTwoNames = !replace && (await giveNewName(fs, temporary, path));`,
    replace: `        if (replace) await fs.rename(temporary, path);
        const hasTwoNames = !replace && (await giveNewName(fs, temporary, path));
        if (stage === 'open') await finish();`,
  },
  {
    name: 'a new file replaces the old one in two steps',
    file: writer,
    find: 'if (replace) await fs.rename(temporary, path);',
    replace: `if (replace) await fs.unlink(path).catch(() => {});
        if (replace) await fs.rename(temporary, path);`,
  },
  {
    name: 'the name of a new file is not flushed',
    file: writer,
    find: '.map((folder) => fs.syncFolder(folder));',
    replace: '.map(async () => {});',
  },
  {
    name: 'the folder of a further name of a new file is not flushed',
    file: writer,
    find: 'if (isGiven) changed.add(folder);',
    replace: '',
    test: order,
  },
  {
    name: 'a further name stays when the file is given up',
    file: writer,
    find: 'if (isGiven) added.push(to);',
    replace: '',
    test: contract,
  },
  {
    name: 'a new file takes a name that another process has',
    file: naming,
    find: 'if (await addName(fs, temporary, path)) return true;',
    replace: `await fs.rename(temporary, path);
  if (temporary !== path) return false;`,
    test: writers,
  },
  {
    name: 'a further name is given although another process has it',
    file: naming,
    find: `    await fs.link(from, to);
    return true;`,
    replace: `    await fs.unlink(to).catch(() => {});
    await fs.link(from, to);
    return true;`,
    workloads: ['two-processes'],
  },
  {
    name: 'a further name replaces the old file in two steps',
    file: naming,
    find: 'if (isMade) await fs.rename(temporary, path);',
    replace: `if (isMade) await fs.unlink(path).catch(() => {});
    if (isMade) await fs.rename(temporary, path);`,
  },
  {
    name: 'without hard links, anybody may publish under one name at the same time',
    file: naming,
    find: `const file = await fs.open(claim, 'create');`,
    replace: `const file = await fs.open(claim, 'append');`,
    test: writers,
  },
  {
    name: 'without hard links, nobody looks whether the name is free',
    file: naming,
    find: `    if (await isTaken(fs, path)) throw systemError('EEXIST');
    await fs.rename(temporary, path);`,
    replace: '    await fs.rename(temporary, path);',
    test: writers,
  },
  {
    name: 'a moved file has two names for a while',
    file: naming,
    find: 'else await fs.rename(from, to);',
    replace: 'else await fs.link(from, to).then(() => fs.unlink(from));',
    test: order,
  },
  {
    name: 'the name of a new folder is not flushed',
    file: folders,
    find: '      await flush(fs, parent, isNew);',
    replace: '',
  },
  {
    name: 'the name of a folder that a dead process has made is not flushed',
    file: folders,
    find: 'if (isThere && durable.has(folder)) return;',
    replace: 'if (isThere) return;',
    workloads: ['unflushed-folder'],
  },
  {
    name: "the flush of a folder's names does nothing",
    file: folders,
    find: '    await fs.syncFolder(folder);',
    replace: '',
  },
  {
    name: 'further names and links are not flushed',
    file: local,
    find: `      const result = await folders.within(dirname(path), work);
      await fs.syncFolder(dirname(path));`,
    replace: '      const result = await folders.within(dirname(path), work);',
  },
  {
    name: 'a removal is not flushed',
    file: local,
    find: `        await fs.syncFolder(dirname(path));
        return true;`,
    replace: '        return true;',
  },
  {
    name: 'the loss of the old name of a moved file is not flushed',
    file: local,
    find: 'if (dirname(from) !== dirname(to)) await fs.syncFolder(dirname(from));',
    replace: '',
    test: order,
  },
  {
    name: 'the loss of the old name of a moved file is flushed before its new name',
    file: local,
    find: 'await naming(action, to, () => moveName(fs, from, to));',
    replace: `await naming(action, to, async () => {
          await moveName(fs, from, to);
          await fs.syncFolder(dirname(from));
        });`,
    test: order,
  },
  {
    name: 'datasync does not reach the system',
    file: system,
    find: 'datasync: () => handle.datasync(),',
    replace: 'datasync: async () => {},',
    test: flushes,
  },
  {
    name: "the flush of a folder's names does not reach the system",
    file: system,
    find: '    await handle.sync();',
    replace: '',
    test: flushes,
  },
  {
    name: 'old files are removed before the new ones are there',
    file: saver,
    find: publishing,
    replace: `    for (const { path } of pending.job.removals) await this.#storage.remove(path);
${publishing}`,
  },
  {
    name: 'a save is acknowledged before it is published',
    file: saver,
    find: publishing,
    replace: `    const { onDurable: early, names: paths } = pending.job;
    const nothing = { bytes: 0, captureMs: 0, writeMs: 0, waitedMs: 0 };
    await early?.({ paths: paths.map(({ path }) => path), ...nothing });
${publishing}`,
  },
  {
    name: '`flush` and the end of `fit` do not wait for the saves',
    file: saver,
    find: `    await this.#running;
    await this.#journal;
    this.throwIfFailed();
  }`,
    replace: '    this.throwIfFailed();\n  }',
  },
  {
    name: 'a link is made before the file that it leads to',
    file: publish,
    find: '  while (missing.length > 0) {',
    replace: `  for (const name of names) {
    if (name.linkTo === undefined) continue;
    await storage.symlink(name.linkTo, name.path, { replace: true });
    published.add(name.path);
  }
  while (missing.length > 0) {`,
  },
  {
    name: 'what another process has published is replaced',
    file: publish,
    find: 'replaces || published.has(path);',
    replace: 'true;',
    workloads: ['two-processes'],
  },
  {
    name: 'weights-only files are written before the full one that can be resumed from',
    file: 'src/saving/save-job.ts',
    find: 'return [full, weightsOnly].filter(',
    replace: 'return [weightsOnly, full].filter(',
    workloads: ['weights-and-full'],
  },
  {
    name: 'a hook that was cut short is not finished',
    file: 'src/trainer/resume.ts',
    find: 'options.mayWrite ? await finishSave(storage, reader, folders) : [];',
    replace: 'options.mayWrite ? [] : [];',
  },
  {
    name: 'a hook that was cut short removes before it makes the missing names',
    file: finish,
    find: '  const missing: SaveName[] = [];',
    replace: `  for (const { path } of job.removals) if (await isOwn(path)) await storage.remove(path);
  const missing: SaveName[] = [];`,
    workloads: ['weights-and-full'],
    cuts: 2,
  },
  {
    name: 'the temporary file of a save that failed stays',
    file: writer,
    find: `    for (const name of added) await removeName(name);
    await removeTemporary();`,
    replace: '    for (const name of added) await removeName(name);',
    test: faults,
  },
  {
    name: 'a file that could not be saved counts as kept',
    file: 'src/callbacks/model-checkpoint.ts',
    find: 'this.#state = withoutSave(this.#state, this.#options, save);',
    replace: '',
    test: faults,
  },
  {
    name: 'a failed save passes unnoticed, and its removals are done',
    file: saver,
    find: publishing,
    replace: `    const bytes = await this.#publish(pending, this.#checksum).catch(() => 0);`,
    test: faults,
  },
  {
    name: 'temporary files of dead processes stay',
    file: 'src/trainer/checkpoint-folders.ts',
    find: '    await sweepFolder(storage, folder);',
    replace: '',
    workloads: ['stale-temporaries'],
  },
  {
    name: "the bytes of a logger's new file are not flushed",
    file: durable,
    find: `    await file.writeFile(text);
    await file.datasync();`,
    replace: '    await file.writeFile(text);',
    test: logged,
  },
  {
    name: "a logger's file is written over instead of replaced",
    file: durable,
    find: 'await rename(temporary, path);',
    replace: `await writeText(path, text);
    await rm(temporary);`,
    test: logged,
  },
  {
    name: "the name of a logger's new file is not flushed",
    file: durable,
    find: `  await syncFolder(dirname(path));
}

async function writeText`,
    replace: `}

async function writeText`,
    test: logged,
  },
  {
    name: 'what a logger adds durably is not flushed',
    file: durable,
    find: 'if (isDurable) await file.datasync();',
    replace: '',
    test: logged,
  },
  {
    name: "the new end of a logger's file is not flushed",
    file: durable,
    find: '      await file.sync();',
    replace: '',
    test: logged,
  },
  {
    name: "the names of a logger's folders are not flushed",
    file: durable,
    find: 'await syncFolder(dirname(folder));',
    replace: '',
    test: logged,
  },
  {
    name: "the name of a run's own folder is not flushed",
    file: durable,
    find: `  await syncFolder(dirname(path));
  return true;`,
    replace: '  return true;',
    test: logged,
  },
  {
    name: "the names are flushed before a logger's file is set aside",
    file: durable,
    find: `    await rename(path, aside);
    await syncFolder(dir);`,
    replace: `    await syncFolder(dir);
    await rename(path, aside);`,
    test: logged,
  },
  {
    name: "the flush of names in a logger's folder does not reach the system",
    file: durable,
    find: '    await folder.sync();',
    replace: '',
    test: logged,
  },
];

/** Calls of the same kind that no mutant takes away, and why none has to. */
export const exempt: readonly {
  readonly file: string;
  readonly find: string;
  readonly because: string;
}[] = [
  {
    file: 'src/storages/local/sweep.ts',
    find: 'await fs.syncFolder(folder)',
    because: 'a temporary file that comes back after a power cut is swept again',
  },
];
