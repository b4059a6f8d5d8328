import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/**
 * What is compared with, in a process of its own, so that neither pays for the other's memory: one line in, one
 * line out.
 */
export interface Peer {
  ask(line: string): Promise<string>;
  /** Asks for something that is answered with how many milliseconds it took. */
  milliseconds(line: string): Promise<number>;
  close(): void;
}

export function startPeer(command: string, args: readonly string[]): Peer {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  async function ask(line: string): Promise<string> {
    if (!child.stdin.write(`${line}\n`)) await once(child.stdin, 'drain');
    const { value, done } = await lines.next();
    if (done) throw new Error(`${command} has ended`);
    return value;
  }
  return {
    ask,
    milliseconds: async (line) => Number(await ask(line)),
    close: () => child.kill(),
  };
}
