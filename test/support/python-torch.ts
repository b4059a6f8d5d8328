import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A process of PyTorch that does what it is told, see `test/interop/torch/torch_side.py`. */
export interface PythonTorch {
  /** @throws Error with what Python raised. */
  ask<T>(request: { readonly do: string; readonly [key: string]: unknown }): Promise<T>;
  close(): void;
}

/**
 * The first Python that has PyTorch. Where none has: undefined, after saying so; in CI, which installs it, an
 * error.
 */
export function pythonWithTorch(): string | undefined {
  const python = ['python3', '/usr/bin/python3'].find((each) => {
    try {
      execFileSync(each, ['-c', 'import torch'], { stdio: 'ignore' });
      return true;
    } catch {
      return false;
    }
  });
  if (python !== undefined) return python;
  const reason = 'no python3 here has PyTorch: apt-get install python3-torch';
  if (process.env.CI) throw new Error(reason);
  console.warn(`skipped: ${reason}`);
  return undefined;
}

/** Starts PyTorch; undefined where there is none, see {@link pythonWithTorch}. */
export async function startPythonTorch(): Promise<PythonTorch | undefined> {
  const python = pythonWithTorch();
  if (python === undefined) return undefined;
  const script = fileURLToPath(new URL('../interop/torch/torch_side.py', import.meta.url));
  const child = spawn(python, ['-W', 'ignore', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, PYTHONUTF8: '1' },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async (): Promise<{ result?: unknown; error?: string }> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('PyTorch has ended');
    return JSON.parse(value) as { result?: unknown; error?: string };
  };
  await answer();
  return {
    async ask<T>(request: object) {
      if (!child.stdin.write(`${JSON.stringify(request)}\n`)) await once(child.stdin, 'drain');
      const { result, error } = await answer();
      if (error !== undefined) throw new Error(error);
      return result as T;
    },
    close: () => child.kill(),
  };
}
