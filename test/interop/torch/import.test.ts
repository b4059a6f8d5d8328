import fc from 'fast-check';
import { localFiles, memoryFiles, openCheckpoint } from 'highwater';
import { importTorch, type TorchCheckpoint } from 'highwater/torch';
import { describe, expect, it } from 'vitest';
import { HighwaterError } from '../../../src/errors.ts';
import { arrayOf } from '../../../src/format/dtype.ts';
import {
  type Picklable,
  PyCall,
  PyPersistent,
  pickle,
} from '../../../src/interop/torch/pickle/pickler.ts';
import {
  PyGlobal,
  PyTuple,
  type PyValue,
} from '../../../src/interop/torch/pickle/python-values.ts';
import {
  archiveOf,
  importBytes,
  importPickle,
  LISTS_IN_LISTS,
  pickleOf,
  text,
} from './hostile-file.ts';
import { REAL_CONTENT, realTorchFile } from './real-file.ts';

async function contentOf(found: TorchCheckpoint): Promise<typeof REAL_CONTENT> {
  const weights = await found.loadWeights();
  return {
    epoch: found.epoch,
    globalStep: found.globalStep,
    hyperParameters: found.hyperParameters,
    weights: weights.map(({ name, dtype, shape, bytes }) => [
      name,
      dtype,
      shape,
      [...arrayOf(dtype, bytes)].map(Number),
    ]),
  } as unknown as typeof REAL_CONTENT;
}

/** A tensor as torch.save pickles it. */
function tensor(
  options: {
    readonly storage?: string;
    readonly key?: string;
    readonly count?: PyValue;
    readonly offset?: PyValue;
    readonly shape?: PyValue;
    readonly strides?: PyValue;
    readonly rest?: readonly Picklable[];
  } = {},
): Picklable {
  const { storage = 'torch.FloatStorage', key = '0', count = 6, offset = 0 } = options;
  const { shape = new PyTuple([2, 3]), strides = new PyTuple([3, 1]), rest = [] } = options;
  const id = new PyTuple(['storage', new PyGlobal(storage), key, 'cpu', count]);
  const hooks = new PyCall('collections.OrderedDict', []);
  return new PyCall('torch._utils._rebuild_tensor_v2', [
    new PyPersistent(id),
    offset,
    shape,
    strides,
    false,
    hooks,
    ...rest,
  ]);
}

const SIX = new Uint8Array(Float32Array.from([0, 1, 2, 3, 4, 5]).buffer);
const importTensor = (value: Picklable, bytes = SIX) =>
  importPickle(pickle(new Map([['w', value]])), { 'a/data/0': bytes });

describe('a file that PyTorch wrote', () => {
  it('gives what was saved', async () => {
    expect(await contentOf(await importBytes(realTorchFile()))).toEqual(REAL_CONTENT);
  });

  it('becomes a checkpoint of weights, once: what has the name is not replaced unasked', async () => {
    const storage = memoryFiles();
    const found = await importBytes(realTorchFile());
    await found.save('/real.ckpt', { storage });
    const opened = await openCheckpoint('/real.ckpt', { storage });
    await opened.verify();
    expect(opened.isResumable).toBe(false);
    expect(opened.document).toMatchObject({ kind: 'weights', epoch: 2, globalStep: 9 });
    await expect(found.save('/real.ckpt', { storage })).rejects.toMatchObject({
      code: 'STORAGE_CONFLICT',
    });
    await found.save('/real.ckpt', { storage, replace: true });
  });

  it('says where there is no weight of a name, and no file', async () => {
    const found = await importBytes(realTorchFile());
    await expect(found.loadWeights(['fc'])).rejects.toMatchObject({
      code: 'TENSOR_NOT_FOUND',
      message: expect.stringContaining('"fc.weight"'),
    });
    await expect(importTorch('/no/such.pt', { storage: localFiles() })).rejects.toMatchObject({
      code: 'CHECKPOINT_NOT_FOUND',
    });
  });

  it('of which any byte is changed is refused, or gives the true values', async () => {
    const file = realTorchFile();
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.nat(file.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, change) => {
          const changed = file.slice();
          changed[at] = (changed[at] as number) ^ change;
          try {
            expect(await contentOf(await importBytes(changed))).toEqual(REAL_CONTENT);
          } catch (error) {
            if (!(error instanceof HighwaterError)) throw error;
            refused++;
          }
        },
      ),
      { numRuns: 600 },
    );
    expect(refused).toBeGreaterThan(200);
  });

  it('that is cut short anywhere is refused', async () => {
    const file = realTorchFile();
    for (let length = 0; length < file.length; length += 7) {
      await expect(importBytes(file.slice(0, length))).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
      });
    }
  });
});

describe('a tensor', () => {
  it.each<[string, Parameters<typeof tensor>[0], readonly number[], readonly number[]]>([
    ['as it lies', {}, [2, 3], [0, 1, 2, 3, 4, 5]],
    [
      'transposed',
      { shape: new PyTuple([3, 2]), strides: new PyTuple([1, 3]) },
      [3, 2],
      [0, 3, 1, 4, 2, 5],
    ],
    [
      'expanded',
      { shape: new PyTuple([2, 3]), strides: new PyTuple([0, 1]) },
      [2, 3],
      [0, 1, 2, 0, 1, 2],
    ],
    [
      'from an offset',
      { offset: 4, shape: new PyTuple([2]), strides: new PyTuple([1]) },
      [2],
      [4, 5],
    ],
    ['of one element', { offset: 5, shape: new PyTuple([]), strides: new PyTuple([]) }, [], [5]],
    [
      'of none',
      { offset: 99, shape: new PyTuple([0, 2 ** 40]), strides: new PyTuple([1, 1]) },
      [0, 2 ** 40],
      [],
    ],
  ])('%s', async (_, options, shape, values) => {
    const [weight] = await (await importTensor(tensor(options))).loadWeights();
    expect(weight?.shape).toEqual(shape);
    expect([...arrayOf('F32', weight?.bytes as Uint8Array)]).toEqual(values);
  });

  it.each<[string, Parameters<typeof tensor>[0], RegExp]>([
    [
      'that goes on beyond its storage',
      { shape: new PyTuple([2, 4]), strides: new PyTuple([3, 1]) },
      /does not fit/,
    ],
    ['that begins beyond it', { offset: 1 }, /does not fit/],
    ['with a stride that overflows', { strides: new PyTuple([2 ** 52, 1]) }, /does not fit/],
    [
      'with a shape that overflows',
      { shape: new PyTuple([2 ** 40, 2 ** 40]), strides: new PyTuple([0, 0]) },
      /does not fit/,
    ],
    ['with a negative stride', { strides: new PyTuple([-3, 1]) }, /stride.*counts/],
    ['with a negative offset', { offset: -1 }, /no count/],
    ['with a size of half', { shape: new PyTuple([0.5, 1]) }, /size.*counts/],
    ['with more dimensions than strides', { shape: new PyTuple([1, 2, 3]) }, /one stride for each/],
    [
      'with 65 dimensions',
      { shape: new PyTuple(Array(65).fill(1)), strides: new PyTuple(Array(65).fill(1)) },
      /65 dimensions/,
    ],
    ['of a storage that is not there', { key: '7' }, /no storage "7"/],
    ['of a storage outside the archive', { key: '../../etc/passwd' }, /no storage/],
    ['of a storage that is too short', { count: 7 }, /should have 7 elements/],
    ['of a storage of no number of elements', { count: [[]] }, /should have a list elements/],
    ['of a storage of -1 elements', { count: -1 }, /should have -1 elements/],
    ['of a storage of 2 ** 60 elements', { count: 2 ** 60 }, /should have/],
    [
      'of complex numbers of 16 bytes',
      { storage: 'torch.ComplexDoubleStorage', count: 1 },
      /complex128/,
    ],
    ['of quantized numbers', { storage: 'torch.QInt8Storage' }, /"torch\.QInt8Storage"/],
    [
      'that is conjugated when it is read',
      { rest: [new Map([['conj', true]])] },
      /conj.*resolve_conj/,
    ],
  ])('%s is refused', async (_, options, message) => {
    await expect(importTensor(tensor(options))).rejects.toThrow(message);
  });

  it('of a storage with a name of 60,000 letters is refused, before it is looked up a million times', async () => {
    const key = 'k'.repeat(60_000);
    const bytes = pickle(new Map([['w', tensor({ key })]]));
    await expect(importPickle(bytes, { [`a/data/${key}`]: SIX })).rejects.toThrow(
      /asks for is no storage/,
    );
  });

  it('of a dtype that PyTorch has no storage class for is rebuilt from bytes', async () => {
    const id = new PyTuple([
      'storage',
      new PyGlobal('torch.storage.UntypedStorage'),
      '0',
      'cpu',
      24,
    ]);
    const hooks = new PyCall('collections.OrderedDict', []);
    const shape = [new PyTuple([3, 2]), new PyTuple([2, 1])];
    const value = new PyCall('torch._utils._rebuild_tensor_v3', [
      new PyPersistent(id),
      0,
      ...shape,
      false,
      hooks,
      new PyGlobal('torch.uint32'),
    ]);
    const [weight] = await (await importTensor(value)).loadWeights();
    expect(weight).toMatchObject({ dtype: 'U32', shape: [3, 2], bytes: SIX });
  });

  it('whose bytes are damaged is refused by name, unless it is not to be verified', async () => {
    const archive = await archiveOf({
      'a/data.pkl': pickle(new Map([['w', tensor()]])),
      'a/data/0': SIX,
    });
    const at = Buffer.from(archive).indexOf(Buffer.from(SIX));
    archive[at + 5] = 0xff;
    const found = await importBytes(archive);
    await expect(found.loadWeights()).rejects.toThrow(/"a\/data\/0" does not match its checksum/);
    await expect(found.save('/x.ckpt', { storage: memoryFiles() })).rejects.toThrow(/checksum/);
    expect(await (await importBytes(archive, { verify: false })).loadWeights()).toHaveLength(1);
  });

  it('that repeats a few bytes a million times over is refused before it takes memory', async () => {
    const huge = tensor({ shape: new PyTuple([2 ** 34]), strides: new PyTuple([0]) });
    await expect(importTensor(huge)).rejects.toThrow(/again and again.*68719476736 bytes/);
  });
});

describe('values beside the weights', () => {
  const lightning = (hyperParameters: Uint8Array): Uint8Array =>
    pickleOf(
      0x80,
      2,
      '}(',
      text('pytorch-lightning_version'),
      text('2.0.0'),
      text('state_dict'),
      '}',
      text('hyper_parameters'),
      hyperParameters,
      'u.',
    );

  it('nested a million levels deep are refused', async () => {
    const deep = pickleOf('}', text('a'), ']'.repeat(500_000), 'a'.repeat(499_999), 's');
    await expect(importPickle(lightning(deep))).rejects.toThrow(/nested more than 90 levels/);
  });

  it('that contain themselves are refused', async () => {
    const own = pickleOf('}', 'q', 9, text('a'), 'h', 9, 's');
    await expect(importPickle(lightning(own))).rejects.toThrow(/nested more than 90 levels/);
  });

  it('that mention one list a billion times are refused', async () => {
    const level = pickleOf('q', 0, '0](', 'h', 0, 'h', 0, 'e');
    const bomb = pickleOf('}', text('a'), ']', ...Array.from({ length: 60 }, () => level), 's');
    await expect(importPickle(lightning(bomb))).rejects.toThrow(/too many/);
  });

  it.each([
    ['deep', pickleOf(']'.repeat(200_000), 'a'.repeat(199_999), 'q', 9, '0')],
    ['endless', LISTS_IN_LISTS],
  ])('under a key that is a list, however %s, are left out', async (_, before) => {
    const found = await importPickle(
      pickleOf(0x80, 2, before, lightning(pickleOf('}h', 9, 'Ns')).subarray(2)),
    );
    expect(found.leftOut).toEqual(['hyper_parameters[a list] (a key that JSON cannot have)']);
  });

  it('that JSON cannot hold are left out, and told', async () => {
    const values = pickleOf(
      '}(',
      text('bytes'),
      'C',
      1,
      7,
      text('__proto__'),
      'N',
      'K',
      1,
      'N',
      'N',
      'K',
      2,
      text('a'),
      'K',
      3,
      'u',
    );
    const found = await importPickle(pickleOf(0x80, 3, lightning(values).subarray(2)));
    expect(found.hyperParameters).toEqual({ 1: null, a: 3 });
    expect(found.leftOut).toEqual([
      'hyper_parameters.bytes (bytes)',
      'hyper_parameters[__proto__] (a key that JSON cannot have)',
      'hyper_parameters[None] (a key that JSON cannot have)',
    ]);
  });

  it('of which a million are left out are told in a thousand short lines', async () => {
    const many = 200_000;
    const values = pickleOf(
      '}(',
      ...[text('k'.repeat(1_000_000)), 'C', 1, 7, 'q', 0],
      ...[text('list'), '](', Buffer.alloc(2 * many, 'h\0'), 'e'],
      'u',
    );
    const { leftOut } = await importPickle(pickleOf(0x80, 3, lightning(values).subarray(2)));
    expect(leftOut).toHaveLength(1001);
    expect(leftOut.slice(0, 2)).toEqual([
      `hyper_parameters.${'k'.repeat(79)}… (bytes)`,
      'hyper_parameters.list[0] (bytes)',
    ]);
    expect(leftOut.at(-1)).toBe(`and ${many + 1 - 1000} more`);
  });

  it('that mention a long text again and again are refused', async () => {
    const long = pickleOf(text('a'.repeat(1_000_000)), 'q', 0);
    const again = Array.from({ length: 60 }, () => pickleOf('h', 0));
    const values = pickleOf('}', text('a'), '](', long, ...again, 'es');
    await expect(importPickle(lightning(values))).rejects.toThrow(
      /'hyper_parameters\.a\[49\]' are too long/,
    );
  });

  it('of a class that is allowed are read as what they hold', async () => {
    const values = pickleOf('cmy.conf\nConfig\n)', 0x81, '}', text('depth'), 'K', 3, 's', 'b');
    const pickle = lightning(pickleOf('}', text('config'), values, 's'));
    await expect(importPickle(pickle)).rejects.toThrow(/"my\.conf\.Config"/);
    const found = await importPickle(pickle, {}, { allow: ['my.conf.Config'] });
    expect(found.hyperParameters).toEqual({ config: { depth: 3 } });
  });
});

describe('an archive', () => {
  const record = pickle(new Map([['w', tensor()]]));
  const records = { 'a/data.pkl': record, 'a/data/0': SIX };

  it.each<[string, Readonly<Record<string, Uint8Array>>, RegExp]>([
    [
      'of a big-endian machine',
      { ...records, 'a/byteorder': Buffer.from('big') },
      /byteorder is "big"/,
    ],
    ['of TorchScript', { ...records, 'a/constants.pkl': record }, /TorchScript.*a\/constants\.pkl/],
    ['with code', { ...records, 'a/code/x.py': record }, /TorchScript.*a\/code\/x\.py/],
    ['with two pickles', { ...records, 'b/data.pkl': record }, /two pickles/],

    ['with a name that leads out', { ...records, '../../x': SIX }, /leads out/],
    ['with an absolute name', { ...records, '/etc/passwd': SIX }, /leads out/],
    ['with a name of Windows', { ...records, 'C:\\x': SIX }, /leads out/],
  ])('%s is refused', async (_, given, message) => {
    await expect(importPickle(record, given)).rejects.toThrow(message);
  });

  it('without a pickle is refused', async () => {
    await expect(importBytes(await archiveOf({ 'a/data/0': SIX }))).rejects.toThrow(
      /without a data\.pkl/,
    );
  });

  /** Changes a field of an entry in the directory. */
  async function changed(
    name: string,
    change: (view: DataView, at: number) => void,
  ): Promise<Uint8Array> {
    const file = await archiveOf(records);
    const at = Buffer.from(file).lastIndexOf(name) - 46;
    change(new DataView(file.buffer), at);
    return file;
  }

  it.each<[string, (view: DataView, at: number) => void, RegExp]>([
    ['that is compressed', (view, at) => view.setUint16(at + 10, 8, true), /compressed/],
    ['that is encrypted', (view, at) => view.setUint16(at + 8, 1, true), /encrypted/],
    ['with two sizes', (view, at) => view.setUint32(at + 24, 9, true), /two sizes/],
    [
      'larger than the file',
      (view, at) => {
        view.setUint32(at + 20, 2 ** 31, true);
        view.setUint32(at + 24, 2 ** 31, true);
      },
      /goes on beyond byte/,
    ],
    [
      'that overlaps another',
      (view, at) => view.setUint32(at + 42, 0, true),
      /goes on beyond|overlaps|twice/,
    ],
    [
      'that begins where none does',
      (view, at) => view.setUint32(at + 42, view.getUint32(at + 42, true) - 3, true),
      /no entry where|overlaps|goes on/,
    ],
  ])('with an entry %s is refused by its name', async (_, change, message) => {
    const file = await changed('a/data/0', change);
    const read = async (): Promise<unknown> => (await importBytes(file)).loadWeights();
    await expect(read()).rejects.toThrow(message);
    await expect(read()).rejects.toThrow(/a\/data/);
  });

  it.each([
    ['nothing', new Uint8Array(), /begins with PK/],
    ['a safetensors file', Buffer.from('\x08\0\0\0\0\0\0\0{}      ', 'latin1'), /begins with PK/],
    [
      'a tar archive',
      Buffer.concat([Buffer.alloc(257), Buffer.from('ustar'), Buffer.alloc(250)]),
      /before 0\.1\.10/,
    ],
    ['PK alone', Buffer.from('PK\x03\x04'), /no end of a zip directory/],
  ])('that is %s is refused', async (_, bytes, message) => {
    await expect(importBytes(bytes)).rejects.toThrow(message);
  });
});
