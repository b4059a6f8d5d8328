import { setTimeout } from 'node:timers/promises';
import { codeOf, systemError } from './fault.ts';
import type { OpenFile } from './file-system.ts';

/** Above 2 GiB `writev` reports a negative count; above 1,024 views some systems refuse. */
const MAX_BYTES = 2 ** 30;
const MAX_VIEWS = 1000;
/** Tries in a row at which the disk took nothing, before giving up (after more than a second). */
const MAX_STALLS = 50;

/** The next byte to write: `views[view][offset]`. Past the last view when all are written. */
export interface Cursor {
  readonly view: number;
  readonly offset: number;
}

/**
 * Writes all views, in as few calls as the system allows, going on after short writes and
 * interruptions. `position` is where the first byte goes; undefined appends. Of a view that is detached meanwhile
 * the bytes are undefined, and all others are in their places.
 */
export async function writeAll(
  file: OpenFile,
  views: readonly Uint8Array[],
  position: number | undefined,
): Promise<void> {
  const sizes = views.map(({ byteLength }) => byteLength);
  let cursor = advance(sizes, { view: 0, offset: 0 }, 0);
  let written = 0;
  for (let stalls = 0; cursor.view < views.length; ) {
    const at = position === undefined ? undefined : position + written;
    const taken = await write(file, nextBatch(views, sizes, cursor), at);
    stalls = taken > 0 ? 0 : stalls + 1;
    if (stalls > MAX_STALLS) throw systemError('EAGAIN');
    if (stalls > 0) await setTimeout(stalls);
    written += taken;
    cursor = advance(sizes, cursor, taken);
  }
}

async function write(file: OpenFile, views: Uint8Array[], at: number | undefined): Promise<number> {
  try {
    return await file.writev(views, at);
  } catch (error) {
    const code = codeOf(error);
    if (code === 'EINTR' || code === 'EAGAIN') return 0;
    throw error;
  }
}

/**
 * As many views from the cursor on as one call may take; none of them empty, none copied.
 *
 * @param sizes of the views when the first byte was written: one that is detached has lost its own.
 */
export function nextBatch(
  views: readonly Uint8Array[],
  sizes: readonly number[],
  cursor: Cursor,
  maxViews: number = MAX_VIEWS,
  maxBytes: number = MAX_BYTES,
): Uint8Array[] {
  const batch: Uint8Array[] = [];
  let room = maxBytes;
  for (let i = cursor.view; i < views.length && batch.length < maxViews && room > 0; i++) {
    const start = i === cursor.view ? cursor.offset : 0;
    const view = views[i]!;
    const end = Math.min(start + room, sizes[i]!);
    const part = isDetached(view) ? new Uint8Array(end - start) : view.subarray(start, end);
    if (part.byteLength > 0) batch.push(part);
    room -= part.byteLength;
  }
  return batch;
}

function isDetached({ buffer, byteLength }: Uint8Array): boolean {
  return byteLength === 0 && buffer.byteLength === 0;
}

/** The cursor `bytes` further on, never at the end of a view or in an empty one. */
export function advance(sizes: readonly number[], cursor: Cursor, bytes: number): Cursor {
  let view = cursor.view;
  let offset = cursor.offset + bytes;
  while (view < sizes.length && offset >= sizes[view]!) {
    offset -= sizes[view]!;
    view += 1;
  }
  return { view, offset };
}
