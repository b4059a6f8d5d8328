import type { StorageWriter } from '../storage.ts';
import { fault, type Tree } from './tree.ts';

/** Copies what it is given, as a disk does. */
export function memoryWriter(tree: Tree, path: string): StorageWriter {
  let chunks: Uint8Array[] = [];
  let stage: 'open' | 'closed' | 'published' | 'discarded' = 'open';

  function expect(...stages: (typeof stage)[]): void {
    if (!stages.includes(stage)) throw fault('Other', path, `its writer is ${stage}`);
  }

  function joinedChunks(): Uint8Array {
    if (chunks.length !== 1) chunks = [concatenated(chunks)];
    return chunks[0]!;
  }

  return {
    async write(views) {
      expect('open');
      for (const view of views) chunks.push(new Uint8Array(view));
    },
    async patch(offset, bytes) {
      expect('open');
      const written = joinedChunks();
      if (!(offset >= 0 && offset + bytes.byteLength <= written.byteLength)) {
        stage = 'discarded';
        const end = offset + bytes.byteLength;
        throw fault('Other', path, `bytes ${offset} to ${end} were not written yet`);
      }
      written.set(bytes, offset);
    },
    async publish(options) {
      expect('open', 'closed');
      stage = 'closed';
      tree.put(path, { kind: 'file', bytes: joinedChunks(), modifiedAtMs: Date.now() }, options);
      stage = 'published';
    },
    async abort() {
      if (stage !== 'published') stage = 'discarded';
      chunks = [];
    },
  };
}

function concatenated(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((size, chunk) => size + chunk.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return whole;
}
