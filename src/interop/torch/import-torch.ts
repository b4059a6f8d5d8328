import type { LoadedTensor } from '../../engines/engine.ts';
import { CheckpointFileError, HighwaterError } from '../../errors.ts';
import type { DType } from '../../format/dtype.ts';
import type { JsonObject } from '../../format/json.ts';
import { quote } from '../../format/json-scanner.ts';
import { checkOptionNames, type OptionNames } from '../../option-check.ts';
import { placeOf, refuseTaken, STORAGE_NAMES, type StorageOptions } from '../../place.ts';
import { fastestChecksum } from '../../saving/checksum.ts';
import { atPath } from '../../saving/error-at-path.ts';
import { type ReadableTensor, writeCheckpoint } from '../../saving/write-checkpoint.ts';
import { CONVERSION_NAMES, type Conversion, planConversion } from '../conversion.ts';
import { documentOf } from './document.ts';
import { LeftOut } from './left-out.ts';
import { savedBy } from './saved.ts';
import type { TorchTensor } from './tensor.ts';
import { PIECE_BYTES, TensorReader } from './tensor-reader.ts';
import { TorchArchive } from './torch-archive.ts';

/** What {@link importTorch} takes. */
export interface TorchImportOptions extends Conversion, StorageOptions {
  /**
   * Under which key of what was saved the weights are: `'model'` for `torch.save({'model': model.state_dict(),
   * 'optimizer': …})`. Not needed for a state dict or a checkpoint of Lightning.
   */
  readonly stateDict?: string | undefined;
  /**
   * Names of further classes that may stand in the file, as `my_package.config.Config`. Their objects are read
   * as inert values: what they hold, and nothing of them is run.
   */
  readonly allow?: readonly string[] | undefined;
  /** Check the CRC-32 of everything that is read. Default true. */
  readonly verify?: boolean | undefined;
}

const NAMES: OptionNames<TorchImportOptions> = {
  ...CONVERSION_NAMES,
  ...STORAGE_NAMES,
  stateDict: true,
  allow: true,
  verify: true,
};

/** A weight of a file of PyTorch, by name, as it is after the conversion. */
export interface ImportedWeight {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

interface Named {
  readonly name: string;
  readonly tensor: TorchTensor;
}

/** A file of PyTorch or Lightning, opened: what it holds is known, its tensors are read when asked for. */
export class TorchCheckpoint {
  readonly path: string;
  /** The size of the file. */
  readonly sizeBytes: number;
  /** Who saved it. */
  readonly savedBy: 'pytorch' | 'lightning';
  /** In the order of the state dict. */
  readonly weights: readonly ImportedWeight[];
  /**
   * Everything else, as a checkpoint of Highwater has it: `epoch`, `globalStep`, `hyperParameters`, `callbacks`
   * (the states of ModelCheckpoints), and under `imported` all that the file held beside its weights, as
   * `optimizer_states` and `lr_schedulers`.
   */
  readonly document: JsonObject;
  /** What could not be taken over, one line each, of the first 1,000. */
  readonly leftOut: readonly string[];
  readonly #named: readonly Named[];
  readonly #extras: readonly TorchTensor[];
  readonly #reader: TensorReader;

  /** Made by {@link importTorch}. */
  constructor(
    archive: TorchArchive,
    reader: TensorReader,
    content: {
      readonly savedBy: 'pytorch' | 'lightning';
      readonly named: readonly Named[];
      readonly document: JsonObject;
      readonly extras: readonly TorchTensor[];
      readonly leftOut: readonly string[];
    },
  ) {
    this.path = archive.path;
    this.sizeBytes = archive.sizeBytes;
    this.savedBy = content.savedBy;
    this.document = content.document;
    this.leftOut = content.leftOut;
    this.weights = content.named.map(({ name, tensor: { dtype, shape } }) => ({
      name,
      dtype,
      shape,
    }));
    this.#named = content.named;
    this.#extras = content.extras;
    this.#reader = reader;
  }

  /** 0-based epoch in which it was saved; 0 for a plain state dict. */
  get epoch(): number {
    return this.document.epoch as number;
  }

  /** Optimizer steps taken; 0 for a plain state dict. */
  get globalStep(): number {
    return this.document.globalStep as number;
  }

  /** Lightning's `hyper_parameters`; empty for a plain state dict. */
  get hyperParameters(): JsonObject {
    return this.document.hyperParameters as JsonObject;
  }

  /**
   * Reads weights, or just those with the given names, each verified, contiguous and in the order of the names.
   * All of them are in memory then; {@link save} needs no more than one at a time.
   *
   * @throws CheckpointFileError (`CHECKPOINT_INVALID`) naming what is damaged; HighwaterError
   * (`TENSOR_NOT_FOUND`).
   */
  async loadWeights(names?: Iterable<string>): Promise<readonly LoadedTensor[]> {
    const wanted = names === undefined ? this.#named : this.#find(names);
    const loaded = new Array<LoadedTensor>(wanted.length);
    await this.#reader.readEach(
      wanted.map(({ tensor }) => tensor),
      (bytes, i) => {
        const { name, tensor } = wanted[i] as Named;
        const { dtype, shape } = tensor;
        loaded[i] = { group: 'model', name, dtype, shape, bytes };
      },
    );
    return loaded;
  }

  /**
   * Writes it as a checkpoint of Highwater, which `openCheckpoint` and `loadFromCheckpoint` read: the weights,
   * the {@link document}, and the tensors that it mentions. Whole and durable when this resolves. At most 256
   * MB and the largest tensor that is not contiguous are in memory at a time.
   *
   * @param options.replace whether to replace what has the name. Default false.
   * @returns the size of the new file in bytes.
   * @throws StorageError (`STORAGE_CONFLICT` when the name is taken), CheckpointFileError for what is damaged,
   * MisconfigurationError for a name that no weight of a checkpoint can have.
   */
  async save(
    path: string | URL,
    options: StorageOptions & { readonly replace?: boolean } = {},
  ): Promise<number> {
    checkOptionNames('save', options, { ...STORAGE_NAMES, replace: true });
    const place = await placeOf(path, options);
    const { replace = false } = options;
    await refuseTaken(place, replace);
    const tensors = [
      ...this.#named.map(({ name, tensor }) => this.#readable('model', name, tensor)),
      ...this.#extras.map((tensor, i) => this.#readable('extra', String(i), tensor)),
    ];
    const file = { document: this.document, tensors };
    const name = { path: place.path, replace };
    return await writeCheckpoint(place.storage, name, file, await fastestChecksum());
  }

  #readable(group: 'model' | 'extra', name: string, tensor: TorchTensor): ReadableTensor {
    const { dtype, shape } = tensor;
    const reader = this.#reader;
    const isLarge = tensor.isContiguous && tensor.sizeBytes > PIECE_BYTES;
    return {
      group,
      name,
      dtype,
      shape,
      read: () => reader.read(tensor),
      ...(isLarge && { pieces: () => reader.pieces(tensor) }),
    };
  }

  #find(names: Iterable<string>): readonly Named[] {
    const byName = new Map(this.#named.map((named) => [named.name, named]));
    return [...names].map((name) => {
      const found = byName.get(name);
      if (found !== undefined) return found;
      throw new HighwaterError(
        'TENSOR_NOT_FOUND',
        `'${this.path}' has no weight ${quote(name)}. It has ${[...byName.keys()].map(quote).join(', ')}.`,
        { details: { path: this.path, name } },
      );
    });
  }
}

/**
 * Opens a file of `torch.save`, a `.pt`, `.pth` or Lightning's `.ckpt`: reads what it holds, but no weight yet.
 *
 * A file of PyTorch is a program (a pickle). This runs none of it: it puts together values, tensors and a few
 * known containers, and refuses the file, by the name and the byte, when it asks for anything else.
 *
 * ```ts
 * const trained = await importTorch('trained.ckpt', {
 *   rename: { 'fc*.weight': 'fc*.kernel' },
 *   axes: { 'fc*.weight': 'OI->IO' },
 * });
 * await trained.save('trained-in-python.ckpt');
 * const digits = await Digits.loadFromCheckpoint('trained-in-python.ckpt');
 * ```
 *
 * Zip archives of pickle protocols 2 to 5 (PyTorch 1.6 and later) are read, of any size, little-endian; every
 * dtype that safetensors has; shared, strided, expanded and empty tensors, which come contiguous.
 *
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`, with `byteOffset`) for what is damaged, foreign, or not
 * allowed; HighwaterError (`CHECKPOINT_NOT_FOUND`); MisconfigurationError (`MISCONFIGURATION`) for a conversion
 * that does not fit the weights.
 */
export async function importTorch(
  path: string | URL,
  options: TorchImportOptions = {},
): Promise<TorchCheckpoint> {
  checkOptionNames('importTorch', options, NAMES);
  const { storage, path: file } = await placeOf(path, options);
  const { allow = [], verify: isVerifying = true } = options;
  const archive = await TorchArchive.open(storage, file, { allow, isVerifying });
  const reader = new TensorReader(archive, isVerifying);
  try {
    const leftOut = new LeftOut();
    const saved = savedBy(archive.value, options.stateDict, leftOut);
    const { document, extras } = await documentOf(saved, reader, leftOut);
    const converted = planConversion(
      saved.weights.map(({ name, tensor: { shape } }) => ({ name, shape })),
      options,
    );
    const named = converted.map(({ name, index, axes }) => {
      const { tensor } = saved.weights[index] as Named;
      return { name, tensor: axes === undefined ? tensor : tensor.permuted(axes) };
    });
    checkTotal([...named.map(({ tensor }) => tensor), ...extras], archive.sizeBytes);
    return new TorchCheckpoint(archive, reader, {
      savedBy: saved.by,
      named,
      document,
      extras,
      leftOut: leftOut.lines,
    });
  } catch (error) {
    throw atPath(error, file, 'imported');
  }
}

/** How much more than its file all tensors may take, since several can be views of the same bytes. */
const MAX_EXPANSION_BYTES = 2 ** 30;

function checkTotal(tensors: readonly TorchTensor[], fileSizeBytes: number): void {
  const total = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  if (total <= 2 * fileSizeBytes + MAX_EXPANSION_BYTES) return;
  throw new CheckpointFileError(
    `its tensors, views of the same bytes again and again, would take ${total} bytes, and the file has ` +
      `${fileSizeBytes}: in Python, save a state dict without expanded tensors`,
    { details: { totalBytes: total } },
  );
}
