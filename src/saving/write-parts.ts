import type { ByteRange, StorageWriter } from '../storages/storage.ts';

/** Where bytes come from. */
export interface Readable {
  /** All of them, little-endian. They are not written to, and not kept once they are in the file. */
  read(): Promise<Uint8Array>;
  /** The same at once and where they lie, if that can be: see `EngineTensors.view`. */
  view?(): Uint8Array | undefined;
}

/** What is written at one place of a file. */
export interface Part extends ByteRange {
  /** Where the bytes lay when somebody first looked. */
  readonly seen: Uint8Array;
  /** The bytes where they lie now; undefined when they can only be read. */
  view(): Uint8Array | undefined;
  /** The bytes, which stay as they are. */
  read(): Promise<Uint8Array>;
}

/** After so many moves the bytes are read: who says every time that they lie elsewhere makes copies. */
const MAX_MOVES = 3;

/** Bytes that stay where they are. */
export function fixedPart(offset: number, bytes: Uint8Array): Part {
  const { byteLength: length } = bytes;
  return { offset, length, seen: bytes, view: () => bytes, read: async () => bytes };
}

/** A tensor where it lies. A class, since a state has many: its methods are made once. */
export class TensorPart implements Part {
  readonly offset: number;
  readonly length: number;
  readonly seen: Uint8Array;
  readonly #tensor: Readable;

  constructor({ offset, length }: ByteRange, tensor: Readable, seen: Uint8Array) {
    this.seen = seen;
    this.offset = offset;
    this.length = length;
    this.#tensor = tensor;
  }

  view(): Uint8Array | undefined {
    return this.#tensor.view?.();
  }

  read(): Promise<Uint8Array> {
    return this.#tensor.read();
  }
}

/**
 * Appends parts that follow one another. An engine's tensors may move while they are being written: WebAssembly memory
 * grows, or another backend takes them, and something else lies in the old place. What is not where it was when the
 * writing began is written again.
 */
export async function writeParts(writer: StorageWriter, parts: readonly Part[]): Promise<void> {
  const views = parts.map(({ seen, length }) =>
    // Memory that has grown has left no bytes there: others keep the place.
    seen.byteLength === length ? seen : new Uint8Array(length),
  );
  await writer.write(views);
  for (const [i, part] of parts.entries()) await writeMoved(writer, part, views[i]!);
}

async function writeMoved(writer: StorageWriter, part: Part, first: Uint8Array): Promise<void> {
  let written = first;
  for (let moves = 0; ; moves++) {
    const view = part.view();
    if (view !== undefined && areInOnePlace(view, written)) return;
    if (view === undefined || moves === MAX_MOVES) {
      return await writer.patch(part.offset, await part.read());
    }
    await writer.patch(part.offset, view);
    written = view;
  }
}

function areInOnePlace(a: Uint8Array, b: Uint8Array): boolean {
  return a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.byteLength === b.byteLength;
}
