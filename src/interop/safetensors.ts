import { encodeHeader } from '../format/safetensors.ts';
import { layOut } from '../format/tensor-layout.ts';
import { checkOptionNames } from '../option-check.ts';
import { writeFile } from '../saving/write-file.ts';
import {
  EXPORT_NAMES,
  type ExportOptions,
  openExport,
  type Weight,
  writeWeights,
} from './weights.ts';

/**
 * Writes the weights of a checkpoint as a plain safetensors file: no optimizer, no metadata. (A checkpoint is a
 * safetensors file as it is; this leaves out the rest, and converts.) Whole, durable and under its name when
 * this resolves; at most 40 MB and the two largest weights
 * are in memory at a time.
 *
 * @param from a checkpoint of Highwater, or any safetensors file.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) for what is damaged; MisconfigurationError
 * (`MISCONFIGURATION`) for a conversion that does not fit; StorageError (`STORAGE_CONFLICT`) when the name is
 * taken.
 */
export async function exportSafetensors(
  from: string | URL,
  to: string | URL,
  options: ExportOptions = {},
): Promise<void> {
  checkOptionNames('exportSafetensors', options, EXPORT_NAMES);
  const { weights, storage, path, replace } = await openExport(from, to, options);
  const layout = layOut(weights);
  const header = encodeHeader(weights, {}, layout);
  const sizeBytes = header.length + layout.dataBytes;
  await writeFile(storage, path, { sizeBytes, replace }, async (writer) => {
    await writer.write([header]);
    const ordered = layout.order.map((index) => weights[index] as Weight);
    await writeWeights(writer, ordered);
  });
}
