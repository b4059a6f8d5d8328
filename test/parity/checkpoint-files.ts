import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';

/** One `*.ckpt` below a folder, as it stands now. */
export interface CheckpointEntry {
  /** Relative to the folder. */
  readonly path: string;
  /** The path; of a symbolic link `path -> target`, of a dangling one with ` (broken)` behind it. */
  readonly listed: string;
  /** Another value after every write to this name. */
  readonly identity: string;
  readonly isBroken: boolean;
}

/** Every `*.ckpt` below a folder, sorted by path. */
export async function listCheckpoints(root: string): Promise<readonly CheckpointEntry[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const found = entries.filter((entry) => entry.name.endsWith('.ckpt') && !entry.isDirectory());
  const listed = await Promise.all(
    found.map(async (entry): Promise<CheckpointEntry> => {
      const file = join(entry.parentPath, entry.name);
      const path = relative(root, file);
      const { ino, mtimeNs, birthtimeNs } = await lstat(file, { bigint: true });
      const identity = `${ino} ${mtimeNs} ${birthtimeNs}`;
      if (!entry.isSymbolicLink()) return { path, listed: path, identity, isBroken: false };
      const isBroken = await stat(file).then(
        () => false,
        () => true,
      );
      const shown = `${path} -> ${await readlink(file)}${isBroken ? ' (broken)' : ''}`;
      return { path, listed: shown, identity, isBroken };
    }),
  );
  return listed.sort((a, b) => (a.listed < b.listed ? -1 : 1));
}

/** What a checkpoint of the scripted module holds. */
export interface CheckpointContent {
  readonly globalStep: number;
  readonly weight: number;
}

/**
 * Reads a checkpoint as any safetensors reader would: a length, a JSON header, the data. Shares no code with
 * the library.
 */
export async function readCheckpoint(file: string): Promise<CheckpointContent> {
  const bytes = await readFile(file);
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes)) as Record<string, unknown>;
  const metadata = header.__metadata__ as Record<string, string>;
  const weight = header.weight as { dtype: string; data_offsets: [number, number] };
  if (weight.dtype !== 'F32') throw new TypeError(`the weight is ${weight.dtype}`);
  const { globalStep } = JSON.parse(metadata['highwater.document'] ?? '{}') as {
    globalStep: number;
  };
  return { globalStep, weight: bytes.readFloatLE(8 + headerBytes + weight.data_offsets[0]) };
}
