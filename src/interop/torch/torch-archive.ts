import { CheckpointFileError, HighwaterError } from '../../errors.ts';
import { bytesPerElement } from '../../format/dtype.ts';
import { quote } from '../../format/json-scanner.ts';
import { fastestChecksum } from '../../saving/checksum.ts';
import { atPath } from '../../saving/error-at-path.ts';
import type { Storage } from '../../storages/storage.ts';
import { locate, readDirectory, type ZipEntry } from '../zip/directory.ts';
import { resolverWith } from './allow-list.ts';
import { TORCH_STORAGES } from './dtypes.ts';
import { PyGlobal, PyTuple, type PyValue, spell } from './pickle/python-values.ts';
import { unpickle } from './pickle/unpickler.ts';
import { TorchStorage } from './tensor.ts';

/** The longest pickle that is read. */
const MAX_PICKLE_BYTES = 64 * 2 ** 20;

/** The longest key of a storage, which PyTorch counts: it is looked up as often as a pickle mentions it. */
const MAX_KEY_LENGTH = 100;

/** What a file of PyTorch begins with that is not the present format, and what to say of it. */
const LEGACY: readonly (readonly [offset: number, bytes: readonly number[], what: string])[] = [
  // PROTO 2, LONG1 of 10 bytes, and the first two of the magic number 0x1950a86a20f9469cfc6c.
  [
    0,
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc],
    'the format that PyTorch wrote before 1.6, without a zip archive',
  ],
  [257, [0x75, 0x73, 0x74, 0x61, 0x72], 'the tar archive that PyTorch wrote before 0.1.10'],
];

/** How the pickle is read. */
interface PickleOptions {
  /** Names of further classes that are read as inert objects. */
  readonly allow: readonly string[];
  readonly isVerifying: boolean;
}

/** A file that `torch.save` wrote: what it holds, with tensors whose bytes are still in the file. */
export class TorchArchive {
  readonly path: string;
  readonly sizeBytes: number;
  readonly storage: Storage;
  /** What was saved. */
  readonly value: PyValue;
  readonly #dataOffsets = new Map<ZipEntry, Promise<number>>();

  private constructor(storage: Storage, path: string, sizeBytes: number, value: PyValue) {
    this.storage = storage;
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.value = value;
  }

  /**
   * Reads the directory and the pickle, and no tensor.
   *
   * @throws CheckpointFileError (`CHECKPOINT_INVALID`), HighwaterError (`CHECKPOINT_NOT_FOUND`).
   */
  static async open(
    storage: Storage,
    path: string,
    { allow, isVerifying }: PickleOptions,
  ): Promise<TorchArchive> {
    const entry = await storage.stat(path);
    if (entry === undefined || entry.kind === 'folder') {
      const message =
        entry === undefined ? `There is no file '${path}'.` : `'${path}' is a folder.`;
      throw new HighwaterError('CHECKPOINT_NOT_FOUND', message, { details: { path } });
    }
    const { sizeBytes } = entry;
    try {
      await refuseLegacy(storage, path);
      const entries = await readDirectory(storage, path, sizeBytes);
      const prefix = prefixOf(entries);
      await refuseBigEndian(storage, path, entries.get(`${prefix}byteorder`));
      const value = await readPickle(storage, path, entries, prefix, { allow, isVerifying });
      return new TorchArchive(storage, path, sizeBytes, value);
    } catch (error) {
      throw atPath(error, path, 'imported');
    }
  }

  /** Where the bytes of a storage begin in the file. */
  async dataOffset({ entry }: TorchStorage): Promise<number> {
    let offset = this.#dataOffsets.get(entry);
    if (offset === undefined) {
      offset = locate(this.storage, this.path, entry).catch((error: unknown) => {
        throw atPath(error, this.path, 'imported');
      });
      this.#dataOffsets.set(entry, offset);
    }
    return await offset;
  }
}

async function refuseLegacy(storage: Storage, path: string): Promise<void> {
  const start = await storage.read(path, { offset: 0, length: 512 });
  for (const [offset, bytes, what] of LEGACY) {
    if (bytes.every((byte, i) => start[offset + i] === byte)) {
      throw new CheckpointFileError(
        `it is in ${what}: load it in Python and save it again with torch.save(..., ` +
          `_use_new_zipfile_serialization=True) (byte ${offset})`,
        { byteOffset: offset },
      );
    }
  }
  if (start[0] !== 0x50 || start[1] !== 0x4b) {
    throw new CheckpointFileError('it is no file of torch.save, which begins with PK (byte 0)', {
      byteOffset: 0,
    });
  }
}

/** All records lie in one folder, whose name torch.save takes from the file's. */
function prefixOf(entries: ReadonlyMap<string, ZipEntry>): string {
  const pickles = [...entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle, second] = pickles;
  if (pickle === undefined || second !== undefined) {
    throw new CheckpointFileError(
      pickle === undefined
        ? 'it is a zip archive without a data.pkl, so torch.save did not write it'
        : `it has two pickles, ${quote(pickle)} and ${quote(second ?? '')}`,
    );
  }
  const prefix = pickle.slice(0, -'data.pkl'.length);
  const code = [...entries.keys()].find(
    (name) => name === `${prefix}constants.pkl` || name.startsWith(`${prefix}code/`),
  );
  if (code !== undefined) {
    throw new CheckpointFileError(
      `it is a TorchScript archive, which holds a program (${quote(code)}): in Python, save ` +
        'torch.jit.load(path).state_dict() instead',
    );
  }
  return prefix;
}

async function refuseBigEndian(
  storage: Storage,
  path: string,
  entry: ZipEntry | undefined,
): Promise<void> {
  if (entry === undefined) return;
  const offset = await locate(storage, path, entry);
  const bytes = await storage.read(path, { offset, length: Math.min(entry.sizeBytes, 16) });
  const order = new TextDecoder().decode(bytes);
  if (order !== 'little') {
    throw new CheckpointFileError(
      `its byteorder is ${quote(order)}, and only little-endian files are read: load it in Python on a ` +
        `little-endian machine and save it again (byte ${offset})`,
      { byteOffset: offset },
    );
  }
}

async function readPickle(
  storage: Storage,
  path: string,
  entries: ReadonlyMap<string, ZipEntry>,
  prefix: string,
  { allow, isVerifying }: PickleOptions,
): Promise<PyValue> {
  const entry = entries.get(`${prefix}data.pkl`) as ZipEntry;
  const offset = await locate(storage, path, entry);
  if (entry.sizeBytes > MAX_PICKLE_BYTES) {
    throw new CheckpointFileError(
      `its pickle takes ${entry.sizeBytes} bytes, more than ${MAX_PICKLE_BYTES} (byte ${offset})`,
      { byteOffset: offset },
    );
  }
  const bytes = await storage.read(path, { offset, length: entry.sizeBytes });
  if (isVerifying && (await fastestChecksum())(bytes) !== entry.checksum) {
    throw new CheckpointFileError(
      `${quote(entry.name)} does not match its checksum, so it is damaged (byte ${offset})`,
      { byteOffset: offset },
    );
  }
  const storages = new Map<string, TorchStorage>();
  return unpickle(bytes, {
    offset,
    resolve: resolverWith(allow),
    persistent: (id, refuse) => {
      const storage = storageOf(id, entries, prefix, refuse);
      const known = storages.get(storage.entry.name);
      // One block may be mentioned with elements of another type.
      if (known !== undefined && known.dtype === storage.dtype) return known;
      storages.set(storage.entry.name, storage);
      return storage;
    },
  });
}

/** `('storage', class, key, location, elements)`. Source: PyTorch, `torch/serialization.py`, `_save`. */
function storageOf(
  id: PyValue,
  entries: ReadonlyMap<string, ZipEntry>,
  prefix: string,
  refuse: (problem: string) => never,
): TorchStorage {
  const [what, type, key, , count] = id instanceof PyTuple ? id.items : [];
  const dtype = type instanceof PyGlobal ? TORCH_STORAGES.get(type.name) : undefined;
  const isKey = typeof key === 'string' && key.length <= MAX_KEY_LENGTH;
  if (what !== 'storage' || dtype === undefined || !isKey) {
    return refuse('what the pickle asks for is no storage of a tensor');
  }
  const entry = entries.get(`${prefix}data/${key}`);
  if (entry === undefined) return refuse(`there is no storage ${quote(key)} in the archive`);
  const elements = Number.isSafeInteger(count) ? Number(count) : -1;
  // Of elements that have no word here no tensor is made.
  const sizeBytes =
    dtype.dtype === undefined ? entry.sizeBytes : elements * bytesPerElement(dtype.dtype);
  if (elements < 0 || sizeBytes > entry.sizeBytes) {
    refuse(
      `the storage ${quote(key)} should have ${spell(count)} elements of ${dtype.name}, and has ` +
        `${entry.sizeBytes} bytes`,
    );
  }
  return new TorchStorage(entry, dtype, sizeBytes);
}
