import { CheckpointFileError } from '../../../src/errors.ts';
import type { JsonObject } from '../../../src/format/json.ts';
import { readCheckpoint } from '../../format/checkpoint-bytes.ts';
import type { FolderNode, Node } from './disk.ts';
import { LEARNING_RATE } from './training.ts';

/** What is in a checkpoint file, as far as the promises speak of it. */
export interface StoredCheckpoint {
  readonly step: number;
  readonly isFull: boolean;
  /** Which of several processes saved it. */
  readonly process: number;
  /** By the name it was ranked under: whose it is, and its score. */
  readonly ranked: ReadonlyMap<string, { readonly stateKey: string; readonly score: number }>;
  /** All that two runs of the same bits agree in. */
  readonly content: string;
}

interface StoredName {
  readonly path: string;
  readonly stateKey?: string;
  readonly score?: number;
}

const known = new WeakMap<Uint8Array, StoredCheckpoint | 'damaged' | 'wrong'>();

/** `damaged`: a reader refuses it. `wrong`: a reader takes it, and the values are not those of its step. */
export function storedCheckpoint(bytes: Uint8Array): StoredCheckpoint | 'damaged' | 'wrong' {
  const found = known.get(bytes) ?? look(bytes);
  known.set(bytes, found);
  return found;
}

function look(bytes: Uint8Array): StoredCheckpoint | 'damaged' | 'wrong' {
  try {
    const { document = {}, tensors } = readCheckpoint(bytes);
    const step = Number(document.globalStep);
    const weights = tensors.find(({ name }) => name === 'steps')?.bytes.slice();
    const isTrue =
      new Float32Array(weights?.buffer ?? new ArrayBuffer(4))[0] === -LEARNING_RATE * step;
    if (!isTrue) return 'wrong';
    const { names = [] } = (document.save ?? {}) as { readonly names?: readonly StoredName[] };
    return {
      step,
      isFull: document.kind === 'full',
      process: Number((document.hyperParameters as JsonObject | undefined)?.process),
      ranked: new Map(
        names.flatMap(({ path, stateKey = '', score }) =>
          score === undefined ? [] : [[path, { stateKey, score }]],
        ),
      ),
      content: contentOf(document),
    };
  } catch (error) {
    if (error instanceof CheckpointFileError) return 'damaged';
    throw error;
  }
}

/** Without what depends on power cuts by intent: how many saves there were, the clock, what was removed. */
function contentOf(document: JsonObject): string {
  return JSON.stringify(document, (key, value: unknown) =>
    ['sequence', 'timerMs', 'removals'].includes(key) ? 0 : value,
  );
}

/** The bytes that every checkpoint's name on a disk leads to; undefined when it leads nowhere. */
export function checkpointsOn(root: FolderNode): Map<string, Uint8Array | undefined> {
  const found = new Map<string, Uint8Array | undefined>();
  const look = (folder: FolderNode, path: string): void => {
    for (const [name, node] of folder.entries) {
      const at = `${path}/${name}`;
      if (node.kind === 'folder') look(node, at);
      else if (name.endsWith('.ckpt')) found.set(at, bytesBehind(folder, node));
    }
  };
  look(root, '');
  return found;
}

/** Links lead to files of their own folder here, or below it. */
function bytesBehind(folder: FolderNode, node: Node): Uint8Array | undefined {
  let target: Node | undefined = node;
  if (node.kind === 'link') {
    target = folder;
    for (const part of node.target.split('/')) {
      target = target?.kind === 'folder' ? target.entries.get(part) : undefined;
    }
  }
  return target?.kind === 'file' ? target.bytes : undefined;
}
