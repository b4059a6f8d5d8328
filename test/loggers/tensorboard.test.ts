import { mkdtemp, readdir, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CSVLogger, MisconfigurationError, TensorBoardLogger } from '../../src/index.ts';
import { scalarsEvent, versionEvent } from '../../src/loggers/tensorboard/event.ts';
import { crc32c, record } from '../../src/loggers/tensorboard/record.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

describe('the bytes are those that TensorBoard 2.21 writes itself', () => {
  it('of a file’s first record', () => {
    expect(hex(record(versionEvent(1.5)))).toBe(
      '1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c',
    );
  });
  it('of two scalars, one of which is NaN', () => {
    const event = scalarsEvent(1700000000.25, 300, { 'val/acc': 0.75, loss: Number.NaN });
    expect(hex(record(event))).toBe(
      '2b00000000000000861bc34b0900001040fc54d94110ac022a1d0a0e0a0776616c2f616363150000403f0a0b0a046c6f7373150000c07f6856088f',
    );
  });
});

it.each([
  ['', 0],
  ['123456789', 0xe3069283],
  ['a', 0xc1d04330],
])('the checksum of %j is that of RFC 3720', (text, expected) => {
  expect(crc32c(new TextEncoder().encode(text))).toBe(expected);
});

let root: string;
const warnings: string[] = [];
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-tensorboard-'));
  warnings.length = 0;
});
afterEach(() => rm(root, { recursive: true }));

const logger = (): TensorBoardLogger =>
  new TensorBoardLogger({
    saveDir: root,
    name: 'run',
    onWarning: (message) => void warnings.push(message),
  });

async function eventFiles(version = 0): Promise<Record<string, Buffer>> {
  const folder = join(root, `run/version_${version}`);
  const names = (await readdir(folder)).filter((name) => name.includes('tfevents')).sort();
  const contents = names.map(async (name) => [name, await readFile(join(folder, name))] as const);
  return Object.fromEntries(await Promise.all(contents));
}

it('goes on in the same file from a stored position: what came later is gone', async () => {
  const first = logger();
  await first.setup();
  await first.logHyperparams({ width: 3 });
  await first.logMetrics({ loss: 1 }, 0);
  await first.save();
  const position = first.position();
  const stored = await eventFiles();
  await first.logMetrics({ loss: 2 }, 1);
  await first.finalize();
  expect(Object.values(await eventFiles())[0]?.length).toBeGreaterThan(position.bytes);

  const second = logger();
  await second.resume(0, position);
  await second.logHyperparams({ width: 3 });
  await second.save();
  expect(await eventFiles()).toEqual(stored);
  await second.logMetrics({ loss: 3 }, 1);
  await second.save();
  expect(Object.keys(await eventFiles())).toEqual([position.file]);
  expect(warnings).toEqual([]);
});

it('begins a new file beside one that has lost points, and says so', async () => {
  const first = logger();
  await first.setup();
  await first.logMetrics({ loss: 1 }, 0);
  await first.save();
  const position = first.position();
  await truncate(join(root, 'run/version_0', position.file), position.bytes - 3);
  const second = logger();
  await second.resume(0, position);
  await second.save();
  expect(Object.keys(await eventFiles())).toHaveLength(2);
  expect(warnings.join()).toMatch(/has lost points/);
});

it('writes to the folder of another logger of the same Trainer in the same place', async () => {
  const csv = new CSVLogger({ saveDir: root, name: 'run' });
  await csv.setup();
  const board = logger();
  await board.setup([csv]);
  expect(board.logDir).toBe(csv.logDir);
  const other = logger();
  await other.setup();
  expect(other.version).toBe(1);
});

it('writes nothing before it has begun, and after a hundred points by itself', async () => {
  const board = logger();
  expect(() => board.logMetrics({ loss: 1 }, 0)).toThrow(/begins with setup/);
  await board.setup();
  for (let step = 0; step < 98; step++) await board.logMetrics({ loss: step }, step);
  expect(await eventFiles()).toEqual({});
  await board.logMetrics({ loss: 98 }, 98);
  expect(Object.keys(await eventFiles())).toHaveLength(1);
});

it.each([
  { rows: 1, columns: ['step'] },
  { file: '../events.out.tfevents.1', bytes: 3, hasHyperparameters: true },
])('refuses a position that is not its own: %j', async (position) => {
  await expect(logger().resume(0, position)).rejects.toThrow(MisconfigurationError);
});
