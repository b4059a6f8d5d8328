import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { safetensors } from '@jax-js/loaders';
import { expect, test } from 'vitest';
import { TensorRef } from '../../src/format/json.ts';
import { bytesOf, type TensorWithBytes, writeCheckpoint } from './checkpoint-bytes.ts';

const KERNEL = new Float32Array([0.1, -0, 3e-45, Number.MAX_VALUE, 1e-3, -7]);
const COUNTS = new Int32Array([-1, 0, 2 ** 31 - 1]);
const MASK = new Uint8Array([1, 0, 1]);

/** Of several alignments, and with a name and a document that are not ASCII. */
const TENSORS: readonly TensorWithBytes[] = [
  { group: 'model', name: 'mask', dtype: 'BOOL', shape: [3], bytes: MASK },
  { group: 'model', name: 'fc1.kernel', dtype: 'F32', shape: [2, 3], bytes: bytesOf(KERNEL) },
  { group: 'model', name: 'é/计数', dtype: 'I32', shape: [3], bytes: bytesOf(COUNTS) },
  { group: 'optimizer', name: 'fc1.kernel', dtype: 'F32', shape: [2, 3], bytes: bytesOf(KERNEL) },
  {
    group: 'rng',
    name: 'key',
    dtype: 'U64',
    shape: [],
    bytes: bytesOf(new BigUint64Array([2n ** 64n - 1n])),
  },
  { group: 'extra', name: '0', dtype: 'U8', shape: [0], bytes: new Uint8Array() },
];

const FILE = writeCheckpoint(
  { epoch: 3, note: 'höchste "Flut" 🌊', ema: new TensorRef('0') },
  TENSORS,
);

test('@jax-js/loaders opens a checkpoint and gets the weights', () => {
  const { tensors, metadata } = safetensors.parse(new Uint8Array(FILE));
  expect(metadata?.['highwater.format']).toBe('1');
  expect(tensors['fc1.kernel']).toEqual({ dtype: 'F32', shape: [2, 3], data: KERNEL });
  expect(tensors['é/计数']).toEqual({ dtype: 'I32', shape: [3], data: COUNTS });
  expect(tensors.mask?.data).toEqual(MASK);
  expect(Object.keys(tensors)).toHaveLength(TENSORS.length);
});

/** A reader with nothing but Python's standard library. It checks every checksum, then prints. */
const PYTHON = `
import json, struct, sys, zlib
data = open(sys.argv[1], 'rb').read()
n, = struct.unpack('<Q', data[:8])
header, body = data[:8 + n], data[8 + n:]
tensors = json.loads(header[8:].decode('utf-8'))
metadata = tensors.pop('__metadata__')
stated = metadata['highwater.header']
zeroed = header.replace(b'"highwater.header":"' + stated.encode(), b'"highwater.header":"00000000', 1)
assert int(stated, 16) == zlib.crc32(zeroed), 'header checksum'
in_order = sorted(tensors, key=lambda name: tensors[name]['data_offsets'])
for i, name in enumerate(in_order):
    begin, end = tensors[name]['data_offsets']
    stated = metadata['highwater.checksums'][8 * i:8 * i + 8]
    assert int(stated, 16) == zlib.crc32(body[begin:end]), name
def read(name, code):
    begin, end = tensors[name]['data_offsets']
    return list(struct.unpack('<%d%s' % ((end - begin) // struct.calcsize(code), code), body[begin:end]))
print(json.dumps([json.loads(metadata['highwater.document']), in_order,
                  [struct.pack('>f', x).hex() for x in read('fc1.kernel', 'f')], read('é/计数', 'i')]))
`;

test('Python opens a checkpoint with its standard library alone', (context) => {
  try {
    execFileSync('python3', ['--version'], { stdio: 'ignore' });
  } catch {
    console.warn('skipped: there is no python3 here to open a checkpoint with');
    context.skip('no python3');
  }
  const folder = mkdtempSync(join(tmpdir(), 'highwater-python-'));
  try {
    const path = join(folder, 'a.ckpt');
    writeFileSync(path, FILE);
    const out = execFileSync('python3', ['-', path], {
      input: PYTHON,
      encoding: 'utf8',
      env: { ...process.env, PYTHONUTF8: '1' },
    });
    expect(JSON.parse(out)).toEqual([
      { epoch: 3, note: 'höchste "Flut" 🌊', ema: { $tensor: '0' } },
      [
        '__highwater__/rng/key',
        '__highwater__/optimizer/fc1.kernel',
        'fc1.kernel',
        'é/计数',
        '__highwater__/extra/0',
        'mask',
      ],
      [...KERNEL].map((x) => {
        const bytes = Buffer.alloc(4);
        bytes.writeFloatBE(x);
        return bytes.toString('hex');
      }),
      [...COUNTS],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
