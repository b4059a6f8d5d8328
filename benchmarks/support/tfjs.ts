import { fileURLToPath } from 'node:url';
import type { Backend } from './backend.ts';
import { startPeer } from './peer.ts';

/** tfjs alone, as its users save without Highwater. */
export interface Tfjs {
  /** Milliseconds for which `model.save` to files in a folder keeps the main thread busy. */
  modelSave(folder: string): Promise<number>;
  /** Milliseconds to write every tensor and `fsync`, synchronously. */
  writePlainly(path: string): Promise<number>;
  close(): void;
}

/** Starts tfjs with a model of 200 float32 tensors `[side, side]`. */
export async function startTfjs(side: number, backend: Backend): Promise<Tfjs> {
  const script = fileURLToPath(new URL('./tfjs-peer.ts', import.meta.url));
  const peer = startPeer(process.execPath, ['--import', 'tsx', script]);
  await peer.ask(`make ${side} ${backend}`);
  return {
    modelSave: (folder) => peer.milliseconds(`model-save ${folder}`),
    writePlainly: (path) => peer.milliseconds(`write-plainly ${path}`),
    close: () => peer.close(),
  };
}
