import { expect, it } from 'vitest';
import { memoryFiles } from '../../src/index.ts';
import { fixedPart, type Part, writeParts } from '../../src/saving/write-parts.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** What is written of a part between two that stay in their places. */
async function written(part: Pick<Part, 'view' | 'read'>): Promise<string> {
  const storage = memoryFiles();
  const writer = await storage.writer('/a');
  const seen = part.view() ?? new Uint8Array();
  const parts = [fixedPart(0, bytes('<')), { offset: 1, length: 3, seen, ...part }];
  await writeParts(writer, [...parts, fixedPart(4, bytes('>'))]);
  await writer.publish({ replace: false });
  return new TextDecoder().decode(await storage.read('/a'));
}

/** Shows each of these in turn, and the last for ever. */
function moving(...views: (Uint8Array | undefined)[]): () => Uint8Array | undefined {
  return () => (views.length > 1 ? views.shift() : views[0]);
}

it('writes again what lies elsewhere after it was written', async () => {
  const read = () => Promise.reject(new Error('nobody is to read'));
  const memory = bytes('abcABC');
  const [first, second] = [memory.subarray(0, 3), memory.subarray(3)];
  expect(await written({ view: moving(first), read })).toBe('<abc>');
  expect(await written({ view: moving(first, second), read })).toBe('<ABC>');
  expect(await written({ view: moving(undefined, second), read })).toBe('<ABC>');
});

it('reads what can be seen no longer, or lies elsewhere whenever one looks', async () => {
  const read = async () => bytes('xyz');
  expect(await written({ view: moving(bytes('abc'), undefined), read })).toBe('<xyz>');
  expect(await written({ view: moving(undefined), read })).toBe('<xyz>');
  expect(await written({ view: () => bytes('abc'), read })).toBe('<xyz>');
});
