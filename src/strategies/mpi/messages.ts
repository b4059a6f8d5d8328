import { decodeJson, encodeJson, type JsonValue } from '../../format/json.ts';
import type { MpiWorld } from './world.ts';

/** What most messages fit in, the four bytes of their length included: then one call is enough. */
const BROADCAST_BYTES = 4096;
const GATHER_BYTES = 1024;
const LENGTH_BYTES = 4;

/** Rank 0's value on every rank. */
export async function broadcastJson(
  world: MpiWorld,
  isSender: boolean,
  value: JsonValue,
): Promise<JsonValue> {
  const text = isSender ? encode(value) : new Uint8Array();
  return await world.meet('broadcast()', 0, async () => {
    const first = new Uint8Array(BROADCAST_BYTES);
    if (isSender) put(first, text);
    await world.broadcast(first);
    const length = lengthIn(first);
    if (length <= BROADCAST_BYTES - LENGTH_BYTES) return decode(first, 0, length);
    const whole = isSender ? text : new Uint8Array(length);
    await world.broadcast(whole);
    return decodeJson(new TextDecoder().decode(whole));
  });
}

/** The values of all ranks, by rank. */
export async function gatherJson(
  world: MpiWorld,
  rank: number,
  worldSize: number,
  value: JsonValue,
): Promise<readonly JsonValue[]> {
  const text = encode(value);
  const partsOf = (partBytes: number): Uint8Array => {
    const parts = new Uint8Array(worldSize * partBytes);
    put(parts.subarray(rank * partBytes, (rank + 1) * partBytes), text);
    world.gather(parts, partBytes);
    return parts;
  };
  return await world.meet('gather()', 0, () => {
    const first = partsOf(GATHER_BYTES);
    const lengths = Array.from({ length: worldSize }, (_, i) => lengthIn(first, i * GATHER_BYTES));
    const partBytes = LENGTH_BYTES + Math.max(...lengths);
    // All ranks see the same lengths, so all go this way or none.
    const isShort = partBytes <= GATHER_BYTES;
    const parts = isShort ? first : partsOf(partBytes);
    return lengths.map((length, i) =>
      decode(parts, i * (isShort ? GATHER_BYTES : partBytes), length),
    );
  });
}

/** The length, and as much of the text as there is room for. */
function put(part: Uint8Array, text: Uint8Array): void {
  new DataView(part.buffer, part.byteOffset).setUint32(0, text.length, true);
  part.set(text.subarray(0, part.length - LENGTH_BYTES), LENGTH_BYTES);
}

function lengthIn(parts: Uint8Array, offset = 0): number {
  return new DataView(parts.buffer, parts.byteOffset).getUint32(offset, true);
}

function decode(parts: Uint8Array, offset: number, length: number): JsonValue {
  const start = offset + LENGTH_BYTES;
  return decodeJson(new TextDecoder().decode(parts.subarray(start, start + length)));
}

function encode(value: JsonValue): Uint8Array {
  return new TextEncoder().encode(encodeJson(value));
}
