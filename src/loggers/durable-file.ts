/** The file's text, or undefined when there is none. */
export async function readText(path: string): Promise<string | undefined> {
  const { readFile } = await import('node:fs/promises');
  return readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
}

/** Replaces the file in one step: whoever reads it sees the old text or the new one. Durable. */
export async function replaceText(path: string, text: string | Uint8Array): Promise<void> {
  const { dirname } = await import('node:path');
  const { rename, rm } = await import('node:fs/promises');
  const temporary = `${path}.tmp`;
  await makeFolders(dirname(path));
  try {
    await writeText(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
  await syncFolder(dirname(path));
}

async function writeText(path: string, text: string | Uint8Array): Promise<void> {
  const { open } = await import('node:fs/promises');
  const file = await open(path, 'w');
  try {
    await file.writeFile(text);
    await file.datasync();
  } finally {
    await file.close();
  }
}

/**
 * Adds to the end of a file; false when there is none. What was written in part is taken back when the
 * rest fails, so that it can be tried again.
 */
export async function appendText(
  path: string,
  text: string | Uint8Array,
  isDurable: boolean,
): Promise<boolean> {
  const { constants, open } = await import('node:fs/promises');
  const file = await open(path, constants.O_WRONLY | constants.O_APPEND).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  try {
    const { size } = await file.stat();
    try {
      await file.appendFile(text);
      if (isDurable) await file.datasync();
    } catch (error) {
      await file.truncate(size).catch(() => undefined);
      throw error;
    }
  } finally {
    await file.close();
  }
  return true;
}

/** Cuts a file down to `bytes`, durably; false when there is none, or when it is shorter. */
export async function truncate(path: string, bytes: number): Promise<boolean> {
  const { open } = await import('node:fs/promises');
  const file = await open(path, 'r+').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (file === undefined) return false;
  try {
    const { size } = await file.stat();
    if (size < bytes) return false;
    if (size > bytes) {
      await file.truncate(bytes);
      await file.sync();
    }
    return true;
  } finally {
    await file.close();
  }
}

/** Makes a folder and those it lies in, durably. */
export async function makeFolders(path: string): Promise<void> {
  const { mkdir } = await import('node:fs/promises');
  const { dirname } = await import('node:path');
  const first = await mkdir(path, { recursive: true });
  if (first === undefined) return;
  for (let folder = path; folder.length >= first.length; folder = dirname(folder)) {
    await syncFolder(dirname(folder));
  }
}

/** Makes a folder in one that is there, durably; false when the name is taken. */
export async function makeNewFolder(path: string): Promise<boolean> {
  const { mkdir } = await import('node:fs/promises');
  const { dirname } = await import('node:path');
  try {
    await mkdir(path);
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
  await syncFolder(dirname(path));
  return true;
}

/** The names of the folders in a folder; none when it is not there. */
export async function foldersIn(path: string): Promise<string[]> {
  const { readdir } = await import('node:fs/promises');
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return [];
    throw error;
  });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

/** Gives a file the first free name of `<stem>.1<extension>`, `<stem>.2<extension>`… Returns its new path. */
export async function setAside(path: string): Promise<string> {
  const { access, rename } = await import('node:fs/promises');
  const { parse, join } = await import('node:path');
  const { dir, name, ext } = parse(path);
  for (let n = 1; ; n++) {
    const aside = join(dir, `${name}.${n}${ext}`);
    const isFree = await access(aside).then(
      () => false,
      () => true,
    );
    if (!isFree) continue;
    await rename(path, aside);
    await syncFolder(dir);
    return aside;
  }
}

/** Windows keeps no folder open to be flushed. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return;
  const { open } = await import('node:fs/promises');
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown } | undefined)?.code;
}
