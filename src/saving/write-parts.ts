import type { ByteRange, StorageWriter } from '../storages/storage.ts';

/** What is written at one place of a file. */
export interface Part extends ByteRange {
  /** The bytes, wherever they are by now. */
  bytes(): Uint8Array;
}

/**
 * Appends parts that follow one another. Memory of WebAssembly moves when it grows, and its old views have no bytes
 * any more: what moves while it is being written is written again from where it is then.
 */
export async function writeParts(writer: StorageWriter, parts: readonly Part[]): Promise<void> {
  const views = parts.map((part) => part.bytes());
  await writer.write(views);
  for (const [i, part] of parts.entries()) {
    for (let view = views[i]!; hasMoved(view, part); ) {
      view = part.bytes();
      await writer.patch(part.offset, view);
    }
  }
}

function hasMoved(view: Uint8Array, { length }: Part): boolean {
  return view.byteLength === 0 && length > 0;
}
