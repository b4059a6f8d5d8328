import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** PyTorch in a process of its own: what Lightning's users save with. */
export interface Torch {
  readonly version: string;
  /** Milliseconds of `torch.save`. */
  save(path: string): Promise<number>;
  /** Milliseconds of `torch.save` and `fdatasync`. */
  saveDurably(path: string): Promise<number>;
  /** Milliseconds of `torch.load`. */
  load(path: string): Promise<number>;
  close(): void;
}

/** Starts PyTorch with a state of `tensors` float32 tensors `[side, side]`; undefined when it is not installed. */
export async function startTorch(tensors: number, side: number): Promise<Torch | undefined> {
  const peer = startPeer();
  if (peer === undefined) return undefined;
  const { ask, close } = peer;
  const version = await ask(`make ${tensors} ${side}`);
  return {
    version,
    save: async (path) => Number(await ask(`save ${path}`)),
    saveDurably: async (path) => Number(await ask(`save-sync ${path}`)),
    load: async (path) => Number(await ask(`load ${path}`)),
    close,
  };
}

/** Milliseconds of the first `torch.load` of a new process, its start not counted; undefined without PyTorch. */
export async function torchLoadsFirst(path: string): Promise<number | undefined> {
  const peer = startPeer();
  if (peer === undefined) return undefined;
  const ms = Number(await peer.ask(`load ${path}`));
  peer.close();
  return ms;
}

interface Peer {
  ask(line: string): Promise<string>;
  close(): void;
}

function startPeer(): Peer | undefined {
  const python = ['python3', '/usr/bin/python3'].find(hasTorch);
  if (python === undefined) return undefined;
  const script = fileURLToPath(new URL('./torch_peer.py', import.meta.url));
  const child = spawn(python, ['-W', 'ignore', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(line) {
      if (!child.stdin.write(`${line}\n`)) await once(child.stdin, 'drain');
      const { value, done } = await lines.next();
      if (done) throw new Error('PyTorch has ended');
      return value;
    },
    close: () => child.kill(),
  };
}

function hasTorch(python: string): boolean {
  try {
    execFileSync(python, ['-c', 'import torch'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
