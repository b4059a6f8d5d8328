import type { LoadedTensor, StateGroup } from '../engines/engine.ts';
import { CheckpointFileError, HighwaterError, StorageError } from '../errors.ts';
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
import type { HostTensor } from './user-values.ts';

/** An open checkpoint: its header is read and checked, its tensors are read when asked for. */
export class CheckpointReader {
  readonly path: string;
  readonly sizeBytes: number;
  readonly index: FileIndex;
  readonly #storage: Storage;
  readonly #checksum: Checksum;

  private constructor(
    storage: Storage,
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
   * @throws CheckpointFileError (`CHECKPOINT_INVALID`, `CHECKPOINT_VERSION`) saying which byte is wrong;
   * HighwaterError (`CHECKPOINT_NOT_FOUND`) when there is no such file.
   */
  static async open(storage: Storage, path: string): Promise<CheckpointReader> {
    const sizeBytes = await fileSizeBytes(storage, path);
    try {
      const prefix = await storage.read(path, { offset: 0, length: 8 });
      const headerBytes = headerSizeBytes(prefix, sizeBytes);
      const header = await storage.read(path, { offset: 0, length: headerBytes });
      const index = readIndex(header, sizeBytes);
      return new CheckpointReader(storage, path, sizeBytes, index, await fastestChecksum());
    } catch (error) {
      throw atPath(error, path);
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
    const { offset, sizeBytes, checksum } = tensor;
    if (bytes.length !== sizeBytes) {
      throw new CheckpointFileError(
        `'${this.path}' ends inside tensor '${tensor.name}', at byte ${offset + bytes.length}.`,
        { byteOffset: offset + bytes.length, details: { path: this.path, tensor: tensor.name } },
      );
    }
    if (checksum !== undefined && this.#checksum(bytes) !== checksum) {
      throw new CheckpointFileError(
        `'${this.path}' is damaged: tensor '${tensor.name}' (bytes ${offset} to ${offset + sizeBytes}) ` +
          `does not match its checksum.`,
        { byteOffset: offset, details: { path: this.path, tensor: tensor.name } },
      );
    }
  }
}

async function fileSizeBytes(storage: Storage, path: string): Promise<number> {
  const entry = await storage.stat(path);
  if (entry === undefined) {
    throw new HighwaterError('CHECKPOINT_NOT_FOUND', `There is no checkpoint '${path}'.`, {
      details: { path },
    });
  }
  if (entry.kind === 'folder') {
    throw new HighwaterError(
      'CHECKPOINT_NOT_FOUND',
      `'${path}' is a folder. Name a checkpoint file in it, or use 'last' or 'best'.`,
      { details: { path } },
    );
  }
  return entry.sizeBytes;
}

/** The same error, its message naming the file: the format itself knows no paths. */
function atPath(error: unknown, path: string): unknown {
  if (!(error instanceof CheckpointFileError) || error instanceof StorageError) return error;
  return new CheckpointFileError(`'${path}' cannot be read as a checkpoint: ${error.message}`, {
    code: error.code as 'CHECKPOINT_INVALID' | 'CHECKPOINT_VERSION',
    byteOffset: error.byteOffset,
    details: { ...error.details, path },
    cause: error,
  });
}
