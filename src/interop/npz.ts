import { MisconfigurationError } from '../errors.ts';
import type { DType } from '../format/dtype.ts';
import { quote } from '../format/json-scanner.ts';
import { checkOptionNames } from '../option-check.ts';
import { fastestChecksum } from '../saving/checksum.ts';
import { writeFile } from '../saving/write-file.ts';
import { bytesOf, EXPORT_NAMES, type ExportOptions, openExport, type Weight } from './weights.ts';
import { leadsOut } from './zip/layout.ts';
import { ZipWriter } from './zip/writer.ts';

/** NumPy's names of dtypes; those that it has none for are absent. */
const DESCRIPTIONS: Partial<Record<DType, string>> = {
  BOOL: '|b1',
  U8: '|u1',
  I8: '|i1',
  U16: '<u2',
  I16: '<i2',
  F16: '<f2',
  U32: '<u4',
  I32: '<i4',
  F32: '<f4',
  C64: '<c8',
  U64: '<u8',
  I64: '<i8',
  F64: '<f8',
};

/** Where the data of an array begin, from the start of its header and of the file. */
const ALIGNMENT = 64;

/**
 * Writes the weights of a checkpoint for `numpy.load(path)`: an archive of one array a weight, not compressed.
 * Whole, durable and under its name when this resolves; at most 40 MB and the two largest weights
 * are in memory at a time.
 *
 * Source: NumPy, `numpy/lib/format.py`, format version 1.0.
 *
 * @param from a checkpoint of Highwater, or any safetensors file.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) for what is damaged; MisconfigurationError
 * (`MISCONFIGURATION`) for a conversion that does not fit, a dtype that NumPy does not have (`BF16`, 8-bit
 * floats), and a name that no file in an archive can have; StorageError (`STORAGE_CONFLICT`) when the name is
 * taken.
 */
export async function exportNpz(
  from: string | URL,
  to: string | URL,
  options: ExportOptions = {},
): Promise<void> {
  checkOptionNames('exportNpz', options, EXPORT_NAMES);
  const { weights, storage, path, replace } = await openExport(from, to, options);
  const headers = weights.map(headerOf);
  const checksum = await fastestChecksum();
  await writeFile(storage, path, { replace }, async (writer) => {
    const archive = new ZipWriter(writer, ALIGNMENT, checksum);
    let next = 0;
    for await (const bytes of bytesOf(weights)) {
      const name = `${(weights[next] as Weight).name}.npy`;
      await archive.add(name, headers[next++] as Uint8Array, bytes);
    }
    await archive.finish();
  });
}

function headerOf({ name, dtype, shape }: Weight): Uint8Array {
  const description = DESCRIPTIONS[dtype];
  if (description === undefined) {
    throw new MisconfigurationError(
      `The weight ${quote(name)} is ${dtype}, which NumPy does not have: export to safetensors instead, or drop it.`,
      { details: { name, dtype } },
    );
  }
  if (leadsOut(name)) {
    throw new MisconfigurationError(
      `No array can be named ${quote(name)}, which leads out of the folder that an archive is unpacked into: ` +
        'rename it.',
      { details: { name } },
    );
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const text = `{'descr': '${description}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const before = MAGIC.length + 2;
  const sizeBytes = Math.ceil((before + text.length + 1) / ALIGNMENT) * ALIGNMENT;
  const bytes = new Uint8Array(sizeBytes).fill(0x20);
  bytes.set(MAGIC);
  new DataView(bytes.buffer).setUint16(MAGIC.length, sizeBytes - before, true);
  bytes.set(new TextEncoder().encode(text), before);
  bytes[sizeBytes - 1] = 0x0a;
  return bytes;
}

/** `\x93NUMPY`, version 1.0. */
const MAGIC: readonly number[] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0];
