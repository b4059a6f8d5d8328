import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Peer, startPeer } from './peer.ts';

/** PyTorch: what Lightning's users save with. */
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
  const peer = startPython();
  if (peer === undefined) return undefined;
  const version = await peer.ask(`make ${tensors} ${side}`);
  return {
    version,
    save: (path) => peer.milliseconds(`save ${path}`),
    saveDurably: (path) => peer.milliseconds(`save-sync ${path}`),
    load: (path) => peer.milliseconds(`load ${path}`),
    close: () => peer.close(),
  };
}

/** Milliseconds of the first `torch.load` of a new process, its start not counted; undefined without PyTorch. */
export async function torchLoadsFirst(path: string): Promise<number | undefined> {
  const peer = startPython();
  const ms = await peer?.milliseconds(`load ${path}`);
  peer?.close();
  return ms;
}

function startPython(): Peer | undefined {
  const python = ['python3', '/usr/bin/python3'].find(hasTorch);
  if (python === undefined) return undefined;
  const script = fileURLToPath(new URL('./torch_peer.py', import.meta.url));
  return startPeer(python, ['-W', 'ignore', script]);
}

function hasTorch(python: string): boolean {
  try {
    execFileSync(python, ['-c', 'import torch'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
