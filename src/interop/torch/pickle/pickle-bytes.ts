import { decodeUtf8 } from '../../../format/utf8.ts';

/** Reads the arguments of instructions, never beyond the end. */
export class PickleBytes {
  position = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #refuse: (problem: string, at: number) => never;

  constructor(bytes: Uint8Array, refuse: (problem: string, at: number) => never) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#refuse = refuse;
  }

  get isAtEnd(): boolean {
    return this.position === this.#bytes.length;
  }

  byte(): number {
    return this.#view.getUint8(this.#skip(1));
  }
  unsigned16(): number {
    return this.#view.getUint16(this.#skip(2), true);
  }
  unsigned32(): number {
    return this.#view.getUint32(this.#skip(4), true);
  }
  int32(): number {
    return this.#view.getInt32(this.#skip(4), true);
  }
  /** Big-endian, as only floats are. */
  float64(): number {
    return this.#view.getFloat64(this.#skip(8), false);
  }
  /** A length of 64 bits: more than there are bytes when it is more than a double holds. */
  length64(): number {
    return Number(this.#view.getBigUint64(this.#skip(8), true));
  }

  /** A view of the next bytes. */
  take(sizeBytes: number): Uint8Array {
    const begin = this.#skip(sizeBytes);
    return this.#bytes.subarray(begin, this.position);
  }

  text(sizeBytes: number): string {
    const begin = this.position;
    return decodeUtf8(this.take(sizeBytes), (index) =>
      this.#refuse('a text is not valid UTF-8', begin + index),
    );
  }

  /** Up to the next line feed, which is skipped. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0) this.#refuse('a name has no end', this.position);
    const line = this.text(end - this.position);
    this.position++;
    return line;
  }

  /** Where the skipped bytes begin. */
  #skip(sizeBytes: number): number {
    const begin = this.position;
    if (sizeBytes > this.#bytes.length - begin) {
      this.#refuse(
        `${sizeBytes} bytes are needed, and the pickle has ${this.#bytes.length - begin} more`,
        begin,
      );
    }
    this.position = begin + sizeBytes;
    return begin;
  }
}
