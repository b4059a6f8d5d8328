/** The fields of one protobuf message, encoded, in the order they were added. */
export class Message {
  readonly #parts: Uint8Array[] = [];

  /** A field that holds a message, a string or bytes. */
  bytes(field: number, value: Message | string | Uint8Array): this {
    const encoded = bytesOf(value);
    this.#parts.push(varint(tag(field, 2)), varint(encoded.length), encoded);
    return this;
  }

  /** An `int64` or `bool`: an integer from 0 to 2^53 - 1. */
  integer(field: number, value: number): this {
    this.#parts.push(varint(tag(field, 0)), varint(value));
    return this;
  }

  double(field: number, value: number): this {
    const encoded = new DataView(new ArrayBuffer(8));
    encoded.setFloat64(0, value, true);
    this.#parts.push(varint(tag(field, 1)), new Uint8Array(encoded.buffer));
    return this;
  }

  float(field: number, value: number): this {
    const encoded = new DataView(new ArrayBuffer(4));
    encoded.setFloat32(0, value, true);
    this.#parts.push(varint(tag(field, 5)), new Uint8Array(encoded.buffer));
    return this;
  }

  encode(): Uint8Array {
    return concat(this.#parts);
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function bytesOf(value: Message | string | Uint8Array): Uint8Array {
  if (typeof value === 'string') return new TextEncoder().encode(value);
  return value instanceof Message ? value.encode() : value;
}

function tag(field: number, wireType: number): number {
  return field * 8 + wireType;
}

/** Seven bits a byte, the lowest first. */
function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) + 128);
    rest = Math.floor(rest / 128);
  }
  return Uint8Array.of(...bytes, rest);
}
