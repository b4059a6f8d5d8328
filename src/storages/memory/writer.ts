import type { StorageWriter } from '../storage.ts';
import { type FileNode, fault, type Tree } from './tree.ts';

/** Copies what it is given, as a disk does. */
export function memoryWriter(tree: Tree, path: string): StorageWriter {
  let chunks: Uint8Array[] = [];
  /** What all its names stand for. */
  let node: FileNode | undefined;
  const added: string[] = [];
  let stage: 'open' | 'closed' | 'published' | 'discarded' = 'open';

  function expect(...stages: (typeof stage)[]): void {
    if (!stages.includes(stage)) throw fault('Other', path, `its writer is ${stage}`);
  }

  function joinedChunks(): Uint8Array {
    if (chunks.length !== 1) chunks = [concatenated(chunks)];
    return chunks[0]!;
  }

  function give(name: string, options: { readonly replace: boolean }): void {
    expect('open', 'closed');
    stage = 'closed';
    node ??= { kind: 'file', bytes: joinedChunks(), modifiedAtMs: Date.now() };
    tree.put(name, node, options);
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
    async link(name) {
      give(name, { replace: false });
      added.push(name);
      return true;
    },
    async publish(options) {
      give(path, options);
      stage = 'published';
    },
    async abort() {
      if (stage === 'published') return;
      stage = 'discarded';
      for (const name of added) tree.remove(name);
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
