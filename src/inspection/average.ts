import { lastPart } from '../checkpoint/folder.ts';
import { CheckpointMismatchError, MisconfigurationError } from '../errors.ts';
import type { StoredTensor } from '../format/checkpoint-file.ts';
import { floatBytes, isFloat, numbersOf } from '../format/numbers.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { placeOf, refuseTaken, STORAGE_NAMES, type StorageOptions } from '../place.ts';
import type { CheckpointReader } from '../saving/checkpoint-reader.ts';
import { fastestChecksum } from '../saving/checksum.ts';
import { writeCheckpoint } from '../saving/write-checkpoint.ts';
import { VERSION } from '../version.ts';
import { openAt } from './open.ts';
import { countIn } from './stored-document.ts';

/** How checkpoints are averaged. */
export interface AverageOptions extends StorageOptions {
  /** Replace a file that is there already. Default false. */
  readonly replace?: boolean;
}

const NAMES: OptionNames<AverageOptions> = {
  ...STORAGE_NAMES,
  replace: true,
};

/** A file that was written. */
export interface AverageOutcome {
  /** As its storage takes it. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly tensors: number;
}

/**
 * Writes the mean of the weights of some checkpoints (a model soup) as a weights-only checkpoint, atomically and
 * durably. It has the hyper-parameters of the first, the epoch and step of the newest, and names them all in
 * `averageOf`.
 *
 * Each weight is summed in float64 in the order of the files and rounded once to its own dtype; NaN and
 * infinities go through it as through any sum. Tensors that are no floats, and of `F8_E4M3`, must be equal in all
 * files. All are verified. One tensor of the result and a few MiB of each file are in memory at a time, and up
 * to 256 MiB that wait to be written.
 *
 * @throws MisconfigurationError for less than two files; CheckpointMismatchError (`CHECKPOINT_MISMATCH`) when
 * names, shapes or dtypes differ, or what must be equal is not; StorageError (`STORAGE_CONFLICT`) when `output` is
 * there already; CheckpointFileError for a file that is damaged. Nothing is written then.
 */
export async function averageCheckpoints(
  files: readonly (string | URL)[],
  output: string | URL,
  options: AverageOptions = {},
): Promise<AverageOutcome> {
  checkOptionNames('averageCheckpoints', options, NAMES);
  if (files.length < 2) {
    throw new MisconfigurationError(
      `An average needs at least two checkpoints, but ${files.length} given.`,
    );
  }
  const place = await placeOf(output, options);
  const { storage, path } = place;
  await refuseTaken(place, options.replace === true);
  const readers = await Promise.all(files.map((file) => openAt(file, options)));
  const [first] = readers as [CheckpointReader, ...CheckpointReader[]];
  const weights = readers.map(weightsOf);
  checkFit(readers, weights);
  const tensors = [...(weights[0] as Weights).values()].map((tensor) => {
    const same = weights.map((others) => others.get(tensor.name) as StoredTensor);
    const { group, name, dtype, shape } = tensor;
    return { group, name, dtype, shape, read: () => meanOf(readers, same) };
  });
  const newest = readers.reduce((a, b) => (stepOf(b) > stepOf(a) ? b : a)).document;
  const { hyperParameters, engine } = first.document ?? {};
  const document = {
    epoch: newest?.epoch,
    globalStep: newest?.globalStep,
    version: VERSION,
    kind: 'weights',
    sequence: newest?.sequence,
    hyperParameters,
    engine,
    averageOf: readers.map((reader) => lastPart(reader.path)),
  };
  const name = { path, replace: options.replace ?? false };
  const checksum = await fastestChecksum();
  const sizeBytes = await writeCheckpoint(storage, name, { document, tensors }, checksum);
  return { path, sizeBytes, tensors: tensors.length };
}

type Weights = ReadonlyMap<string, StoredTensor>;

function weightsOf(reader: CheckpointReader): Weights {
  const weights = reader.index.tensors.filter(({ group }) => group === 'model');
  return new Map(weights.map((tensor) => [tensor.name, tensor]));
}

function stepOf({ document }: CheckpointReader): number {
  return countIn(document ?? {}, 'globalStep') ?? -1;
}

function checkFit(readers: readonly CheckpointReader[], weights: readonly Weights[]): void {
  const [expected, ...others] = weights as [Weights, ...Weights[]];
  const mismatches = others.flatMap((found, i) => {
    const file = `'${(readers[i + 1] as CheckpointReader).path}'`;
    const names = new Set([...expected.keys(), ...found.keys()]);
    return [...names].flatMap((name) => {
      const [a, b] = [expected.get(name), found.get(name)];
      if (b === undefined) return `${file} has no '${name}'`;
      if (a === undefined) return `only ${file} has '${name}'`;
      return form(a) === form(b) ? [] : `'${name}' is ${form(b)} in ${file}, not ${form(a)}`;
    });
  });
  if (mismatches.length === 0) return;
  throw new CheckpointMismatchError(
    `These checkpoints are not of one model; compared with '${(readers[0] as CheckpointReader).path}':`,
    mismatches,
  );
}

function form({ dtype, shape }: StoredTensor): string {
  return `${dtype} [${shape.join(', ')}]`;
}

/** The bytes of the mean of one tensor in all files, which are read side by side. */
async function meanOf(
  readers: readonly CheckpointReader[],
  tensors: readonly StoredTensor[],
): Promise<Uint8Array> {
  const { dtype, sizeBytes } = tensors[0] as StoredTensor;
  const mean = new Uint8Array(sizeBytes);
  const parts = readers.map((reader, i) => reader.parts(tensors[i] as StoredTensor));
  let done = 0;
  for (;;) {
    const read = await Promise.all(parts.map((part) => part.next()));
    const bytes = read.flatMap(({ value }) => value ?? []);
    const [first] = bytes;
    if (first === undefined) return mean;
    const isAveraged = isFloat(dtype) && dtype !== 'F8_E4M3';
    mean.set(isAveraged ? meanPart(dtype, bytes) : samePart(readers, tensors, bytes), done);
    done += first.length;
  }
}

function meanPart(dtype: StoredTensor['dtype'], parts: readonly Uint8Array[]): Uint8Array {
  const values = parts.map((part) => numbersOf(dtype, part));
  const sum = new Float64Array((values[0] as ArrayLike<number>).length);
  for (const part of values) {
    for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) + (part[i] as number);
  }
  for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] as number) / values.length;
  return floatBytes(dtype, sum) as Uint8Array;
}

function samePart(
  readers: readonly CheckpointReader[],
  tensors: readonly StoredTensor[],
  parts: readonly Uint8Array[],
): Uint8Array {
  const [first, ...others] = parts as [Uint8Array, ...Uint8Array[]];
  const { name, dtype } = tensors[0] as StoredTensor;
  const differing = others.findIndex((part) => part.some((byte, i) => byte !== first[i]));
  if (differing === -1) return first;
  throw new CheckpointMismatchError('There is no mean of these checkpoints:', [
    `'${name}' is ${dtype}, which is not averaged, so it must be equal; it is another in ` +
      `'${(readers[differing + 1] as CheckpointReader).path}'`,
  ]);
}
