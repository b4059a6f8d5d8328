/**
 * Another process: `tsx local-writer-process.ts <folder> [no-links]`. Prints `ready <pid>`; for each line
 * of its input, publishes a file of that name that holds its pid, and prints `won` or why not. The name
 * `-` starts a file and leaves it.
 */
import { createInterface } from 'node:readline';
import { nodeFileSystem } from '../../src/storages/local/file-system.ts';
import { localFiles } from '../../src/storages/local.ts';

const [folder, disk] = process.argv.slice(2);
const noLinks = () => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' }));
const fs = disk === 'no-links' ? { ...nodeFileSystem, link: noLinks } : nodeFileSystem;
const storage = localFiles({ fs });
const text = new TextEncoder().encode(`${process.pid}`);

async function publish(name: string): Promise<string> {
  const writer = await storage.writer(`${folder}/${name}`);
  await writer.write([text]);
  if (name === '-') return 'started';
  try {
    await writer.publish({ replace: false });
    return 'won';
  } catch (error) {
    await writer.abort();
    return (error as { kind?: string }).kind ?? String(error);
  }
}

console.log(`ready ${process.pid}`);
for await (const name of createInterface({ input: process.stdin })) {
  console.log(await publish(name));
}
