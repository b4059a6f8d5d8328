import { memoryFiles } from 'highwater';
import { importTorch, type TorchCheckpoint, type TorchImportOptions } from 'highwater/torch';
import { crc32 } from '../../../src/format/crc32.ts';
import { ZipWriter } from '../../../src/interop/zip/writer.ts';

/** Bytes of a pickle: opcodes as numbers, text as it is. */
export function pickleOf(...parts: readonly (number | string | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === 'number'
        ? Uint8Array.of(part)
        : typeof part === 'string'
          ? Buffer.from(part, 'utf8')
          : part,
    ),
  );
}

/** An unsigned number, little-endian. */
export function unsigned(value: number | bigint, sizeBytes: 4 | 8): Uint8Array {
  const bytes = Buffer.alloc(sizeBytes);
  if (sizeBytes === 4) bytes.writeUInt32LE(Number(value));
  else bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

/** A text, as BINUNICODE pushes it. */
export function text(value: string): Uint8Array {
  const bytes = Buffer.from(value, 'utf8');
  return pickleOf('X', unsigned(bytes.length, 4), bytes);
}

/**
 * Remembers as 9 a list that holds one list twice, which holds one list twice, and so on, 60 times: a few hundred
 * bytes that nobody has gone through when the sun burns out.
 */
export const LISTS_IN_LISTS: Uint8Array = pickleOf(
  ']q',
  9,
  '0',
  ...Array.from({ length: 60 }, () => pickleOf('](h', 9, 'h', 9, 'eq', 9, '0')),
);

/** An archive as torch.save makes it, with the given pickle and records. */
export async function archiveOf(
  records: Readonly<Record<string, Uint8Array>>,
): Promise<Uint8Array> {
  const storage = memoryFiles();
  const writer = await storage.writer('/a.pt');
  const archive = new ZipWriter(writer, 64, crc32);
  for (const [name, bytes] of Object.entries(records)) await archive.add(name, bytes);
  await archive.finish();
  await writer.publish({ replace: false });
  return await storage.read('/a.pt');
}

/** Imports a file that is in memory. */
export async function importBytes(
  bytes: Uint8Array,
  options: TorchImportOptions = {},
): Promise<TorchCheckpoint> {
  const storage = memoryFiles();
  const writer = await storage.writer('/a.pt');
  await writer.write([bytes]);
  await writer.publish({ replace: false });
  return await importTorch('/a.pt', { ...options, storage });
}

/** Imports a file of nothing but a pickle, and perhaps records of tensors. */
export async function importPickle(
  pickle: Uint8Array,
  records: Readonly<Record<string, Uint8Array>> = {},
  options: TorchImportOptions = {},
): Promise<TorchCheckpoint> {
  return await importBytes(await archiveOf({ 'a/data.pkl': pickle, ...records }), options);
}
