import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CheckpointFileError } from '../../../src/errors.ts';
import { resolverWith } from '../../../src/interop/torch/allow-list.ts';
import { type Picklable, pickle } from '../../../src/interop/torch/pickle/pickler.ts';
import {
  PyDict,
  PySet,
  PyTuple,
  type PyValue,
} from '../../../src/interop/torch/pickle/python-values.ts';
import { unpickle } from '../../../src/interop/torch/pickle/unpickler.ts';
import { TorchDType, TorchStorage } from '../../../src/interop/torch/tensor.ts';
import type { ZipEntry } from '../../../src/interop/zip/directory.ts';
import { LISTS_IN_LISTS, pickleOf, text, unsigned } from './hostile-file.ts';

const read = (bytes: Uint8Array, further: readonly string[] = []): PyValue =>
  unpickle(bytes, {
    resolve: resolverWith(further),
    persistent: (_, refuse) => refuse('no storages here'),
  });

const proto2 = pickleOf(0x80, 2);
const call = (name: string, args: Uint8Array): Uint8Array =>
  pickleOf(proto2, `c${name.replace(/\.(?=[^.]*$)/, '\n')}\n`, args, 'R.');

describe('values', () => {
  it.each<[string, PyValue, Uint8Array]>([
    ['None', null, pickleOf(proto2, 'N.')],
    ['True', true, pickleOf(proto2, 0x88, '.')],
    ['an int of one byte', 255, pickleOf(proto2, 'K', 255, '.')],
    ['an int of two bytes', 0x1234, pickleOf(proto2, 'M', 0x34, 0x12, '.')],
    ['a negative int', -2, pickleOf(proto2, 'J', 0xfe, 0xff, 0xff, 0xff, '.')],
    ['a long', -1, pickleOf(proto2, 0x8a, 1, 0xff, '.')],
    ['a long of no bytes', 0, pickleOf(proto2, 0x8a, 0, '.')],
    ['a long beyond doubles', 2n ** 64n, pickleOf(proto2, 0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1, '.')],
    ['a float', 0.5, pickleOf(proto2, 'G', 0x3f, 0xe0, 0, 0, 0, 0, 0, 0, '.')],
    ['text', 'é', pickleOf(proto2, text('é'), '.')],
    ['a tuple', new PyTuple([null, true]), pickleOf(proto2, 'N', 0x88, 0x86, '.')],
    ['a list', [1, 2], pickleOf(proto2, ']', '(', 'K', 1, 'K', 2, 'e.')],
    ['a set', new PySet([1]), pickleOf(0x80, 4, 0x8f, '(', 'K', 1, 0x90, '.')],
    ['a dict', PyDict.of([[1, null]]), pickleOf(proto2, '}', 'K', 1, 'Ns.')],
    [
      'an OrderedDict',
      PyDict.of([['a', 1]]),
      call('collections.OrderedDict', pickleOf('](', text('a'), 'K', 1, 0x86, 'e', 0x85)),
    ],
    ['a device', 'cuda:1', call('torch.device', pickleOf(text('cuda'), 'K', 1, 0x86))],
    ['a path', '/a/b', call('pathlib.PosixPath', pickleOf(text('/'), text('a'), text('b'), 0x87))],
    [
      'bytes of protocol 2',
      Uint8Array.of(0xff, 1),
      call('_codecs.encode', pickleOf(text('\u00ff\u0001'), text('latin1'), 0x86)),
    ],
    ['what is remembered', [null, null], pickleOf(proto2, ']', 'Nq', 7, 'a', 'h', 7, 'a.')],
  ])('%s', (_, value, bytes) => {
    expect(read(bytes)).toEqual(value);
  });

  it('are read as Python writes them, in every protocol', () => {
    const code = `
import pickle, sys, json, collections
value = [None, True, 0, -1, 255, 65536, 2**31, -2**40, 2**53 - 1, 0.1, float('inf'), 'é', '', (1,), (1, 2), (1, 2, 3),
         (1, 2, 3, 4), [], {}, {'a': [1]}, collections.OrderedDict([('z', 1), ('y', 2)]), 'a', 'a' * 300]
print(json.dumps([pickle.dumps(value, protocol).hex() for protocol in (2, 3, 4, 5)]))`;
    const pickles = JSON.parse(
      execFileSync('python3', ['-c', code], { encoding: 'utf8' }),
    ) as string[];
    for (const hex of pickles) {
      expect(read(Buffer.from(hex, 'hex'))).toEqual([
        null,
        true,
        0,
        -1,
        255,
        65536,
        2 ** 31,
        -(2 ** 40),
        2 ** 53 - 1,
        0.1,
        Infinity,
        'é',
        '',
        new PyTuple([1]),
        new PyTuple([1, 2]),
        new PyTuple([1, 2, 3]),
        new PyTuple([1, 2, 3, 4]),
        [],
        new PyDict(),
        PyDict.of([['a', [1]]]),
        PyDict.of([
          ['z', 1],
          ['y', 2],
        ]),
        'a',
        'a'.repeat(300),
      ]);
    }
  });

  const values = fc.letrec<{ value: PyValue }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, true, false, -0, 1e300, Number.NaN),
      fc.maxSafeInteger(),
      fc.double(),
      fc.bigInt({ min: 2n ** 53n, max: 2n ** 200n }),
      fc.string({ unit: 'grapheme' }),
      fc.array(tie('value'), { maxLength: 5 }),
      fc.array(tie('value'), { maxLength: 5 }).map((items) => new PyTuple(items)),
      fc
        .array(fc.tuple(fc.oneof(fc.string(), fc.integer()), tie('value')), { maxLength: 4 })
        .map((entries) => PyDict.of(entries)),
    ),
  })).value;

  it('come back from our own pickles', () => {
    fc.assert(
      fc.property(values, (value) => {
        expect(read(pickle(value as Picklable))).toEqual(value);
      }),
    );
  });
});

describe('a name that is not allowed', () => {
  it.each([
    'posix.system',
    'os.system',
    'nt.system',
    'subprocess.Popen',
    'builtins.eval',
    '__builtin__.eval',
    'builtins.exec',
    'builtins.getattr',
    'builtins.__import__',
    'operator.attrgetter',
    'functools.partial',
    'importlib.import_module',
    'copyreg._reconstructor',
    'torch.load',
    'torch.hub.load',
    'torch.storage._load_from_bytes',
    'numpy.load',
    'numpy.core.multiarray._reconstruct',
    'runpy.run_path',
    'types.CodeType',
    'pickle.loads',
    'constructor',
    '__proto__.x',
    'collections.OrderedDict.__init__',
    'torch._utils',
    'torch._utils._rebuild_tensor_v2 ',
  ])('%s is refused, with its name and the byte', (name) => {
    const dot = name.lastIndexOf('.');
    const [module, member] = [name.slice(0, Math.max(dot, 0)), name.slice(dot + 1)];
    const reduce = pickleOf(text('touch /tmp/owned'), 0x85, 'R.');
    const byGlobal = pickleOf(proto2, `c${module}\n${member}\n`, reduce);
    const byStack = pickleOf(0x80, 4, text(module), text(member), 0x93, reduce);
    for (const [bytes, byteOffset] of [
      [byGlobal, 2],
      [byStack, 2 + 10 + module.length + member.length],
    ] as const) {
      expect(() => read(bytes)).toThrow(
        expect.objectContaining({
          code: 'CHECKPOINT_INVALID',
          byteOffset,
          message: expect.stringContaining(`"${module}.${member}"`),
        }),
      );
    }
  });

  it('can be allowed: it is read as an inert object', () => {
    const bytes = pickleOf(
      proto2,
      'cmy.config\nConfig\n',
      ')',
      0x81,
      '}',
      text('a'),
      'K',
      1,
      's',
      'b.',
    );
    expect(read(bytes, ['my.config.Config'])).toMatchObject({
      className: 'my.config.Config',
      state: PyDict.of([['a', 1]]),
    });
  });
});

/** Ten million bytes that push values. */
const many = (opcode: string): Uint8Array => Buffer.alloc(10_000_001, opcode);

/** A value as it stands in a pickle: its bytes, or what it is put together from, between other bytes. */
type Term =
  | Uint8Array
  | { readonly open: string; readonly items: readonly Term[]; readonly close: string };

const tupleOf = (...items: readonly Term[]): Term => ({ open: '(', items, close: 't' });
const globalOf = (name: string): Uint8Array => pickleOf(`c${name.replace(/\.(?=[^.]*$)/, '\n')}\n`);
const callOf = (name: string, ...args: readonly Term[]): Term => ({
  open: '',
  items: [globalOf(name), tupleOf(...args)],
  close: 'R',
});

function spelled(term: Term): Uint8Array {
  if (term instanceof Uint8Array) return term;
  return pickleOf(term.open, ...term.items.map(spelled), term.close);
}

/** The same with each of its parts replaced. */
function* replacements(term: Term, by: Uint8Array): Iterable<Uint8Array> {
  yield by;
  if (term instanceof Uint8Array) return;
  for (const [i, item] of term.items.entries()) {
    for (const changed of replacements(item, by)) {
      yield spelled({ ...term, items: term.items.with(i, changed) });
    }
  }
}

const ONE = pickleOf('K', 1);
const TENSOR_ARGS = [pickleOf('NQ'), ONE, tupleOf(ONE, ONE), tupleOf(ONE, ONE), ONE, pickleOf('N')];
const METADATA = pickleOf('}', text('conj'), 0x89, 's');

/** A call of each constructor that may be called. */
const CALLS: readonly Term[] = [
  ...['collections.OrderedDict', 'collections.Counter', 'builtins.set', 'torch.Size'].map((name) =>
    callOf(name, tupleOf(tupleOf(ONE, ONE), tupleOf(ONE, ONE))),
  ),
  callOf('collections.defaultdict', globalOf('builtins.int'), tupleOf(tupleOf(ONE, ONE))),
  callOf('argparse.Namespace', ONE),
  callOf('pathlib.PosixPath', text('/'), text('a')),
  callOf('_codecs.encode', text('a'), text('latin1')),
  callOf(
    'numpy.core.multiarray.scalar',
    {
      open: '',
      items: [callOf('numpy.dtype', text('u1')), tupleOf(ONE, text('|'))],
      close: 'b',
    },
    callOf('_codecs.encode', text('a'), text('latin1')),
  ),
  callOf('torch._utils._rebuild_tensor_v2', ...TENSOR_ARGS, METADATA),
  callOf('torch._utils._rebuild_tensor_v3', ...TENSOR_ARGS, globalOf('torch.float32'), METADATA),
  callOf(
    'torch._tensor._rebuild_from_type_v2',
    globalOf('torch._utils._rebuild_tensor_v2'),
    globalOf('torch.Tensor'),
    tupleOf(...TENSOR_ARGS, METADATA),
    pickleOf('N'),
  ),
  ...['torch._utils._rebuild_parameter', 'torch._utils._rebuild_parameter_with_state'].map((name) =>
    callOf(name, callOf('torch._utils._rebuild_tensor_v2', ...TENSOR_ARGS), ONE),
  ),
  callOf('torch.device', text('cuda'), ONE),
  callOf('torch.serialization._get_layout', text('torch.strided')),
];

/** Reads a pickle in which every persistent id stands for a storage of six numbers. */
function readWithStorage(bytes: Uint8Array): PyValue {
  const storage = new TorchStorage(
    { sizeBytes: 24 } as ZipEntry,
    new TorchDType('float32', 'F32'),
    24,
  );
  return unpickle(bytes, { resolve: resolverWith([]), persistent: () => storage });
}

describe('a hostile pickle is refused at its byte', () => {
  it.each<[string, Uint8Array, RegExp, number]>([
    ['a call of a call', pickleOf(proto2, 'ccollections\nOrderedDict\n)R)R.'), /no class/, 30],
    ['a call of text', pickleOf(proto2, text('os'), ')R.'), /no class/, 10],
    ['a call of what may only be named', call('builtins.dict', pickleOf(')')), /not called/, 18],
    ['a call with a list', call('collections.OrderedDict', pickleOf(']')), /no tuple/, 28],
    [
      'a call with named arguments',
      pickleOf(0x80, 4, 'ccollections\nOrderedDict\n)}', 'K', 1, 'Ns', 0x92, '.'),
      /named arguments/,
      33,
    ],
    [
      'a tensor of no storage',
      call('torch._utils._rebuild_tensor_v2', pickleOf('(', 'N'.repeat(6), 't')),
      /not given a storage/,
      43,
    ],
    [
      'a parameter of no tensor',
      call('torch._utils._rebuild_parameter', pickleOf('NN', 0x86)),
      /not given a tensor/,
      38,
    ],
    [
      'a tensor made by something else',
      call('torch._tensor._rebuild_from_type_v2', pickleOf('(ccollections\nOrderedDict\nN)Nt')),
      /does not make a tensor/,
      69,
    ],
    ['a storage', pickleOf(proto2, 'NQ.'), /no storages here/, 3],
    ['protocol 0', pickleOf('(lp0\n.'), /0x70|not allowed|protocol/, 2],
    ['protocol 1', pickleOf(0x80, 1, 'N.'), /protocol 1/, 0],
    ['protocol 6', pickleOf(0x80, 6, 'N.'), /protocol 6/, 0],
    ['a pickle inside a pickle', pickleOf(proto2, 'N', proto2, '.'), /inside another/, 3],
    ['an instance by name (INST)', pickleOf(proto2, '(ios\nsystem\n.'), /0x69/, 3],
    ['an instance (OBJ)', pickleOf(proto2, '(No.'), /0x6f/, 4],
    ['a persistent id of protocol 0', pickleOf(proto2, 'Pa\n.'), /0x50/, 2],
    ['a registered extension', pickleOf(proto2, 0x82, 1, '.'), /0x82/, 2],
    ['an out-of-band buffer', pickleOf(0x80, 5, 0x97, '.'), /0x97/, 2],
    [
      'text longer than the pickle',
      pickleOf(proto2, 'X', unsigned(2 ** 32 - 1, 4), 'a.'),
      /4294967295 bytes are needed/,
      7,
    ],
    [
      'text of 2 ** 63 bytes',
      pickleOf(0x80, 4, 0x8d, unsigned(2n ** 63n, 8), 'a.'),
      /are needed/,
      11,
    ],
    [
      'bytes of 2 ** 64 - 1',
      pickleOf(0x80, 4, 0x8e, unsigned(2n ** 64n - 1n, 8), '.'),
      /are needed/,
      11,
    ],
    ['an integer of 4 GB', pickleOf(proto2, 0x8b, unsigned(2 ** 32 - 1, 4), '.'), /too long/, 2],
    [
      'an integer of 256 bytes',
      pickleOf(proto2, 0x8b, unsigned(256, 4), Buffer.alloc(256), '.'),
      /too long/,
      2,
    ],
    ['a name without an end', pickleOf(proto2, 'cos'), /no end/, 3],
    ['text that is not UTF-8', pickleOf(proto2, 'X', unsigned(2, 4), 0x61, 0xff, '.'), /UTF-8/, 8],
    ['nothing', pickleOf(), /are needed/, 0],
    ['no end', pickleOf(proto2, 'N'), /are needed/, 3],
    ['an empty stack', pickleOf(proto2, '.'), /stack is empty/, 2],
    ['values left over', pickleOf(proto2, 'NN.'), /left over/, 4],
    ['bytes after the end', pickleOf(proto2, 'N.N'), /follow the end/, 4],
    ['no mark', pickleOf(proto2, 'Nt.'), /no mark/, 3],
    ['a pop below a mark', pickleOf(proto2, 'N(', 0x85, '.'), /stack is empty/, 4],
    ['a key without a value', pickleOf(proto2, '}(Nu.'), /no value/, 5],
    ['items of what is no dict', pickleOf(proto2, 'N(NNu.'), /no dict/, 6],
    ['items of what is no list', pickleOf(proto2, 'NNa.'), /no list/, 4],
    ['a state of a number', pickleOf(proto2, 'K', 1, '}b.'), /can have none/, 5],
    ['what was never remembered', pickleOf(proto2, 'h', 9, '.'), /nothing was remembered as 9/, 2],
    ['ten million values', pickleOf(proto2, many(']')), /more than 10000000 steps/, 10_000_001],
  ])('%s', (_, bytes, message, byteOffset) => {
    let found: unknown;
    try {
      read(bytes);
    } catch (error) {
      found = error;
    }
    expect(found).toBeInstanceOf(CheckpointFileError);
    expect(String(found)).toMatch(message);
    if (byteOffset > 0) expect((found as CheckpointFileError).byteOffset).toBe(byteOffset);
  });

  it('a large memo index takes no room', () => {
    const bytes = pickleOf(
      proto2,
      'N',
      'r',
      unsigned(2 ** 32 - 1, 4),
      'j',
      unsigned(2 ** 32 - 1, 4),
      0x86,
      '.',
    );
    expect(read(bytes)).toEqual(new PyTuple([null, null]));
  });

  it('a list given to constructors again and again is soon too much', () => {
    const list = pickleOf('](', 'N'.repeat(100_000), 'e', 'q', 0);
    const bytes = pickleOf(
      proto2,
      list,
      ...Array.from({ length: 200 }, () => pickleOf('c__builtin__\nset\nh', 0, 0x85, 'R0')),
      '.',
    );
    expect(() => read(bytes)).toThrow(/more than 10000000 steps/);
  });

  it('so is a list given to what a constructor calls', () => {
    const metadata = pickleOf(
      '}(',
      ...Array.from({ length: 1000 }, (_, i) => pickleOf('M', i & 255, i >> 8, 0x89)),
      'u',
    );
    const args = pickleOf('(', ...TENSOR_ARGS.map(spelled), metadata, 'tq', 0, '0');
    const call = pickleOf(
      globalOf('torch._tensor._rebuild_from_type_v2'),
      ...['(', globalOf('torch._utils._rebuild_tensor_v2'), 'Nh', 0, 'NtR0'],
    );
    const bytes = pickleOf(proto2, args, ...Array.from({ length: 20_000 }, () => call), 'N.');
    expect(() => readWithStorage(bytes)).toThrow(/more than 10000000 steps/);
  });

  it('text that doubles again and again is soon too much', () => {
    const double = pickleOf('q', 0, '0cpathlib\nPosixPath\nh', 0, 'h', 0, 0x86, 'R');
    const bytes = pickleOf(
      proto2,
      text('aaaaaaaa'),
      ...Array.from({ length: 60 }, () => double),
      '.',
    );
    expect(() => read(bytes)).toThrow(/more than 10000000 steps/);
  });

  it('whatever a constructor is given, in place of anything that it needs', () => {
    // What is remembered before the call, and what then stands in it.
    const hostile: readonly (readonly [before: Uint8Array, value: Uint8Array])[] = [
      [pickleOf(']'.repeat(20_000), 'a'.repeat(19_999), 'q', 8, '0'), pickleOf('h', 8)],
      [LISTS_IN_LISTS, pickleOf('h', 9)],
      [pickleOf(']q', 7, 'h', 7, 'a0'), pickleOf('h', 7)],
      ...[
        ...['N', ']', ')', '}', 'NQ', 'G\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f', 'J\0\0\0\x7f'].map(
          (code) => pickleOf(code),
        ),
        pickleOf(0x8a, 9, 0, 0, 0, 0, 0, 0, 0, 0, 1),
        text('../'),
        text('a'.repeat(10_000)),
        globalOf('torch.float32'),
        globalOf('torch._tensor._rebuild_from_type_v2'),
      ].map((value) => [pickleOf(), value] as const),
    ];
    let made = 0;
    for (const call of CALLS) {
      expect(() => readWithStorage(pickleOf(proto2, spelled(call), '.'))).not.toThrow();
      for (const [before, value] of hostile) {
        for (const changed of replacements(call, value)) {
          try {
            readWithStorage(pickleOf(proto2, before, changed, '.'));
            made++;
          } catch (error) {
            if (!(error instanceof CheckpointFileError)) throw error;
            if (error.message.length > 300) throw new Error('a long message', { cause: error });
          }
        }
      }
    }
    expect(made).toBeGreaterThan(100);
  });

  it('whatever the bytes are', () => {
    const opcodes = fc.constantFrom(
      ...'().012BCGJKMNQRTUX]abcdehjlqrstu}'.split('').map((c) => c.charCodeAt(0)),
      ...Array.from({ length: 32 }, (_, i) => 0x80 + i),
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(opcodes, fc.nat(255)), { maxLength: 60 }), (codes) => {
        try {
          read(pickleOf(proto2, ...codes));
        } catch (error) {
          expect(error).toBeInstanceOf(CheckpointFileError);
          expect((error as CheckpointFileError).byteOffset).toBeLessThanOrEqual(codes.length + 2);
        }
      }),
      { numRuns: 3000 },
    );
  });
});
