import { CheckpointFileError, MisconfigurationError } from '../../errors.ts';
import { bytesPerElement } from '../../format/dtype.ts';
import { quote } from '../../format/json-scanner.ts';
import { WORTH_THREADS_BYTES } from '../../saving/checkpoint-reader.ts';
import { fastestChecksum } from '../../saving/checksum.ts';
import { eachAtOnce } from '../../saving/each-at-once.ts';
import { gather } from '../strided.ts';
import type { ZipEntry } from '../zip/directory.ts';
import type { TorchStorage, TorchTensor } from './tensor.ts';
import type { TorchArchive } from './torch-archive.ts';

/** What is larger is read in pieces of this size where it can be. */
export const PIECE_BYTES: number = 64 * 2 ** 20;

/** The longest array in Node 20. */
const MAX_ARRAY_BYTES = 2 ** 32;

/** Storages that are larger are not held as a whole for the sake of their parts. */
const LARGE_BYTES = 2 ** 30;

/** Reads in flight at once. */
const PARALLEL_READS = 4;

/** Reads the bytes of tensors, each storage checked against its checksum before a byte of it is handed on. */
export class TensorReader {
  readonly #archive: TorchArchive;
  readonly #isVerifying: boolean;
  readonly #checked = new Map<ZipEntry, Promise<void>>();

  constructor(archive: TorchArchive, isVerifying: boolean) {
    this.#archive = archive;
    this.#isVerifying = isVerifying;
  }

  /** The elements of a tensor in the order of its shape, in a buffer of their own. */
  async read(tensor: TorchTensor): Promise<Uint8Array> {
    if (tensor.sizeBytes === 0) return new Uint8Array();
    checkHoldable(tensor);
    if (isWhole(tensor)) {
      let whole = new Uint8Array();
      await this.#readStorages([tensor.storage], (_, bytes) => {
        whole = bytes as Uint8Array<ArrayBuffer>;
      });
      return whole;
    }
    await this.#check(tensor.storage);
    const { offset, length } = tensor.extent;
    const bytes = await this.#readRange(tensor.storage, offset, length);
    return tensor.isContiguous ? bytes : elementsOf(tensor, bytes);
  }

  /** The same in pieces, for a contiguous tensor. Nothing is handed on before the storage has been checked. */
  async *pieces({ storage, extent }: TorchTensor): AsyncIterable<Uint8Array> {
    await this.#check(storage);
    for (let done = 0; done < extent.length; done += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, extent.length - done);
      yield await this.#readRange(storage, extent.offset + done, length);
    }
  }

  /**
   * Reads many tensors and gives each to `take`, in no order. A storage is read once and as a whole, unless it is
   * large and its tensors are parts of it.
   */
  async readEach(
    tensors: readonly TorchTensor[],
    take: (bytes: Uint8Array, index: number) => void,
  ): Promise<void> {
    const groups = new Map<ZipEntry, number[]>();
    for (const [i, tensor] of tensors.entries()) {
      checkHoldable(tensor);
      const { storage } = tensor;
      const group = groups.get(storage.entry);
      if (group === undefined) groups.set(storage.entry, [i]);
      else group.push(i);
    }
    const tensorAt = (index: number | undefined) => tensors[index as number] as TorchTensor;
    const views: number[][] = [];
    for (const indices of groups.values()) {
      const [first] = indices;
      const { sizeBytes } = tensorAt(first).storage.entry;
      if (sizeBytes <= LARGE_BYTES || (indices.length === 1 && isWhole(tensorAt(first)))) {
        views.push(indices);
      } else {
        for (const index of indices) take(await this.read(tensorAt(index)), index);
      }
    }
    const storages = views.map(([first]) => tensorAt(first).storage);
    await this.#readStorages(storages, (i, bytes) => {
      const indices = views[i] as number[];
      for (const index of indices) {
        const tensor = tensorAt(index);
        const { offset, length } = tensor.extent;
        const isAlone = indices.length === 1 && isWhole(tensor);
        const own = isAlone ? bytes : elementsOf(tensor, bytes.subarray(offset, offset + length));
        take(own, index);
      }
    });
  }

  /** Reads and checks whole storages. What is wrong with the first of them is reported. */
  async #readStorages(
    storages: readonly TorchStorage[],
    take: (index: number, bytes: Uint8Array) => void,
  ): Promise<void> {
    const { storage: files, path } = this.#archive;
    const ranges = new Array<{ offset: number; length: number }>(storages.length);
    await eachAtOnce(storages.entries(), PARALLEL_READS, async ([i, storage]) => {
      const offset = await this.#archive.dataOffset(storage);
      ranges[i] = { offset, length: storage.entry.sizeBytes };
    });
    const failures = new Map<number, unknown>();
    const check = (i: number, bytes: Uint8Array, checksum: () => number): void => {
      try {
        this.#compare((storages[i] as TorchStorage).entry, bytes.length, checksum);
        take(i, bytes);
      } catch (error) {
        failures.set(i, error);
      }
    };
    const totalBytes = ranges.reduce((sum, { length }) => sum + length, 0);
    const isRead =
      totalBytes >= WORTH_THREADS_BYTES &&
      (await files.readChecked(path, ranges, (i, { bytes, checksum }) => {
        check(i, bytes, () => checksum);
      }));
    if (!isRead) {
      const checksumOf = await fastestChecksum();
      await eachAtOnce(ranges.entries(), PARALLEL_READS, async ([i, range]) => {
        const bytes = await files.read(path, range);
        check(i, bytes, () => checksumOf(bytes));
      });
    }
    if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
  }

  /** Reads a storage through once, in pieces, and keeps nothing of it. */
  async #check(storage: TorchStorage): Promise<void> {
    if (!this.#isVerifying) return;
    const { entry } = storage;
    let checking = this.#checked.get(entry);
    if (checking === undefined) {
      checking = this.#checkPieces(storage);
      this.#checked.set(entry, checking);
    }
    await checking;
  }

  async #checkPieces(storage: TorchStorage): Promise<void> {
    const { entry } = storage;
    const checksumOf = await fastestChecksum();
    let checksum = 0;
    for (let done = 0; done < entry.sizeBytes; done += PIECE_BYTES) {
      const length = Math.min(PIECE_BYTES, entry.sizeBytes - done);
      checksum = checksumOf(await this.#readRange(storage, done, length), checksum);
    }
    this.#compare(entry, entry.sizeBytes, () => checksum);
  }

  async #readRange(storage: TorchStorage, offset: number, length: number): Promise<Uint8Array> {
    const begin = (await this.#archive.dataOffset(storage)) + offset;
    const { storage: files, path } = this.#archive;
    const bytes = await files.read(path, { offset: begin, length });
    if (bytes.length < length) this.#refuse(storage.entry, 'is cut short', begin + bytes.length);
    return bytes;
  }

  #compare(entry: ZipEntry, sizeBytes: number, checksum: () => number): void {
    if (sizeBytes < entry.sizeBytes) this.#refuse(entry, 'is cut short', entry.headerOffset);
    if (!this.#isVerifying || checksum() === entry.checksum) return;
    this.#refuse(
      entry,
      'does not match its checksum (files saved after torch.serialization.set_crc32_options(False) have none: ' +
        'read them with verify: false)',
      entry.headerOffset,
    );
  }

  #refuse(entry: ZipEntry, problem: string, byteOffset: number): never {
    const { path } = this.#archive;
    throw new CheckpointFileError(
      `'${path}' is damaged: ${quote(entry.name)} ${problem} (byte ${byteOffset})`,
      { byteOffset, details: { path, entry: entry.name } },
    );
  }
}

function checkHoldable({ sizeBytes, extent, dtype, shape }: TorchTensor): void {
  if (Math.max(sizeBytes, extent.length) <= MAX_ARRAY_BYTES) return;
  throw new MisconfigurationError(
    `A tensor of ${dtype} [${shape.join(', ')}] takes ${Math.max(sizeBytes, extent.length)} bytes, and an array of JavaScript holds ` +
      `${MAX_ARRAY_BYTES}: name the others, or save() a checkpoint, which is written in pieces.`,
    { details: { sizeBytes } },
  );
}

/** Whether the bytes of a tensor are those of its storage. */
function isWhole(tensor: TorchTensor): boolean {
  const { extent, isContiguous, storage } = tensor;
  return isContiguous && extent.offset === 0 && extent.length === storage.entry.sizeBytes;
}

/** The elements of a tensor, copied out of the bytes of its extent. */
function elementsOf(tensor: TorchTensor, extent: Uint8Array): Uint8Array {
  const { dtype, isContiguous, shape, strides } = tensor;
  if (isContiguous) return extent.slice();
  return gather(extent, bytesPerElement(dtype), { shape, strides, offset: 0 });
}
