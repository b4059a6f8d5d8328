import type { LoadedTensor, StateGroup } from '../engines/engine.ts';
import { CheckpointFileError, HighwaterError } from '../errors.ts';
import {
  type FileIndex,
  headerSizeBytes,
  readIndex,
  type StoredTensor,
} from '../format/checkpoint-file.ts';
import { arrayOf } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';
import type { Storage } from '../storages/storage.ts';
import { type Checksum, fastestChecksum } from './checksum.ts';
import { atPath } from './error-at-path.ts';
import type { HostTensor } from './user-values.ts';

/** What is asked of a storage to read from it. */
export type ReadStorage = Pick<Storage, 'stat' | 'read' | 'readParts'>;

/** Most headers are smaller, and so come with the first read. */
const FIRST_READ_BYTES = 8 * 1024;

/** How much of a tensor {@link CheckpointReader.parts} reads at once. */
const PART_BYTES = 8 * 2 ** 20;

/** An open checkpoint: its header is read and checked, its tensors are read when asked for. */
export class CheckpointReader {
  readonly path: string;
  readonly sizeBytes: number;
  readonly index: FileIndex;
  readonly #storage: ReadStorage;
  readonly #checksum: Checksum;

  private constructor(
    storage: ReadStorage,
    path: string,
    sizeBytes: number,
    index: FileIndex,
    checksum: Checksum,
  ) {
    this.#storage = storage;
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.index = index;
    this.#checksum = checksum;
  }

  /**
   * Reads and checks the header, nothing else.
   *
   * @param sizeBytes of the file, when it has just been looked at: saves a look for each file of a long list.
   * @throws CheckpointFileError (`CHECKPOINT_INVALID`, `CHECKPOINT_FOREIGN`, `CHECKPOINT_VERSION`) saying which byte is wrong;
   * HighwaterError (`CHECKPOINT_NOT_FOUND`) when there is no such file.
   */
  static async open(
    storage: ReadStorage,
    path: string,
    sizeBytes?: number,
  ): Promise<CheckpointReader> {
    sizeBytes ??= await fileSizeBytes(storage, path);
    try {
      const startBytes = Math.min(FIRST_READ_BYTES, sizeBytes);
      const start = await storage.read(path, { offset: 0, length: startBytes });
      const headerBytes = headerSizeBytes(start, sizeBytes);
      const header =
        headerBytes <= start.length
          ? start
          : await storage.read(path, { offset: 0, length: headerBytes });
      const index = readIndex(header, sizeBytes);
      return new CheckpointReader(storage, path, sizeBytes, index, await fastestChecksum());
    } catch (error) {
      throw atPath(error, path, 'read as a checkpoint');
    }
  }

  /** What the checkpoint holds beside tensors; undefined for a plain safetensors file. */
  get document(): JsonObject | undefined {
    return this.index.document;
  }

  /** Whether training can go on from it: weights-only and foreign files cannot be resumed. */
  get isResumable(): boolean {
    return this.document?.kind === 'full';
  }

  /** The tensors of some groups, each verified against its checksum. Reads only their bytes. */
  async load(groups: ReadonlySet<StateGroup>): Promise<readonly LoadedTensor[]> {
    return await this.#load(
      this.index.tensors.filter(({ group }) => groups.has(group as StateGroup)),
    );
  }

  /**
   * The weights, or just those with the given names, each verified against its checksum. Reads only their
   * bytes, a few tensors at a time.
   *
   * @throws CheckpointFileError naming the tensor and the byte that is wrong; HighwaterError
   * (`TENSOR_NOT_FOUND`) for a name that the checkpoint does not have.
   */
  async loadWeights(names?: Iterable<string>): Promise<readonly LoadedTensor[]> {
    const weights = this.index.tensors.filter(({ group }) => group === 'model');
    if (names === undefined) return await this.#load(weights);
    const byName = new Map(weights.map((tensor) => [tensor.name, tensor]));
    const wanted = [...names].map((name) => {
      const tensor = byName.get(name);
      if (tensor !== undefined) return tensor;
      throw new HighwaterError(
        'TENSOR_NOT_FOUND',
        `'${this.path}' has no weight '${name}'. It has ${[...byName.keys()].map((known) => `'${known}'`).join(', ')}.`,
        { details: { path: this.path, name } },
      );
    });
    return await this.#load(wanted);
  }

  /** The bytes of one tensor of the {@link index}, verified. @throws CheckpointFileError for what is damaged. */
  async read(tensor: StoredTensor): Promise<Uint8Array> {
    let found = new Uint8Array();
    await this.#readEach([tensor], (_, bytes) => {
      found = bytes as Uint8Array<ArrayBuffer>;
    });
    return found;
  }

  async #load(wanted: readonly StoredTensor[]): Promise<readonly LoadedTensor[]> {
    const loaded = new Array<LoadedTensor>(wanted.length);
    await this.#readEach(wanted, ({ group, name, dtype, shape }, bytes, i) => {
      loaded[i] = { group: group as StateGroup, name, dtype, shape, bytes };
    });
    return loaded;
  }

  /** The tensors that user hooks added, by the names the document refers to them by. */
  async loadExtras(): Promise<ReadonlyMap<string, HostTensor>> {
    const wanted = this.index.tensors.filter(({ group }) => group === 'extra');
    const extras = new Map<string, HostTensor>();
    await this.#readEach(wanted, ({ name, dtype, shape }, bytes) => {
      extras.set(name, { dtype, shape, data: arrayOf(dtype, bytes) });
    });
    return extras;
  }

  /**
   * The bytes of one tensor in order, in parts of at most `partBytes` (a multiple of 8, default 8 MiB), so
   * that no more than a part is in memory. Its checksum is verified once all is read: who takes the last part
   * and asks for more has them verified.
   *
   * @throws CheckpointFileError naming the tensor and the byte that is wrong.
   */
  async *parts(tensor: StoredTensor, partBytes: number = PART_BYTES): AsyncGenerator<Uint8Array> {
    const { offset, sizeBytes } = tensor;
    let checksum = 0;
    let done = 0;
    while (done < sizeBytes) {
      const length = Math.min(partBytes, sizeBytes - done);
      const bytes = await this.#storage.read(this.path, { offset: offset + done, length });
      done += bytes.length;
      if (bytes.length < length) this.#refuseShort(tensor, done);
      checksum = this.#checksum(bytes, checksum);
      yield bytes;
    }
    this.#compare(tensor, checksum);
  }

  /** Reads everything and checks every checksum. @throws CheckpointFileError naming the tensor and byte. */
  async verify(): Promise<void> {
    await this.#readEach(this.index.tensors, () => {});
  }

  /** Reads tensors and gives each to `take` once it is verified, in no order. The first damaged is reported. */
  async #readEach(
    tensors: readonly StoredTensor[],
    take: (tensor: StoredTensor, bytes: Uint8Array, index: number) => void,
  ): Promise<void> {
    const damaged = new Map<number, unknown>();
    const ranges = tensors.map(({ offset, sizeBytes }) => ({ offset, length: sizeBytes }));
    await this.#storage.readParts(this.path, ranges, (i, bytes) => {
      const tensor = tensors[i] as StoredTensor;
      try {
        this.#verify(tensor, bytes);
        take(tensor, bytes, i);
      } catch (error) {
        damaged.set(i, error);
      }
    });
    if (damaged.size > 0) throw damaged.get(Math.min(...damaged.keys()));
  }

  #verify(tensor: StoredTensor, bytes: Uint8Array): void {
    if (bytes.length !== tensor.sizeBytes) this.#refuseShort(tensor, bytes.length);
    if (tensor.checksum !== undefined) this.#compare(tensor, this.#checksum(bytes));
  }

  #refuseShort({ name, offset }: StoredTensor, foundBytes: number): never {
    throw new CheckpointFileError(
      `'${this.path}' ends inside tensor '${name}', at byte ${offset + foundBytes}.`,
      { byteOffset: offset + foundBytes, details: { path: this.path, tensor: name } },
    );
  }

  /** A file that Highwater did not write has no checksums. */
  #compare({ name, offset, sizeBytes, checksum }: StoredTensor, found: number): void {
    if (checksum === undefined || checksum === found) return;
    throw new CheckpointFileError(
      `'${this.path}' is damaged: tensor '${name}' (bytes ${offset} to ${offset + sizeBytes}) ` +
        `does not match its checksum.`,
      { byteOffset: offset, details: { path: this.path, tensor: name } },
    );
  }
}

async function fileSizeBytes(storage: ReadStorage, path: string): Promise<number> {
  const entry = await storage.stat(path);
  if (entry === undefined) {
    throw new HighwaterError('CHECKPOINT_NOT_FOUND', `There is no checkpoint '${path}'.`, {
      details: { path },
    });
  }
  if (entry.kind === 'folder') {
    throw new HighwaterError(
      'CHECKPOINT_NOT_FOUND',
      `'${path}' is a folder. Name a checkpoint file in it.`,
      { details: { path } },
    );
  }
  return entry.sizeBytes;
}
