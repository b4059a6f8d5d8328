import { CheckpointFileError } from '../../../errors.ts';
import { quote } from '../../../format/json-scanner.ts';
import { OP } from './opcodes.ts';
import { PickleBytes } from './pickle-bytes.ts';
import { PyDict, PyGlobal, PyObject, PySet, PyTuple, type PyValue } from './python-values.ts';

/**
 * The most work that is done for one pickle: its instructions, each of which makes at most one value, and the
 * sizes of what constructors are given. It bounds both time and memory, and is that of some 200,000 tensors.
 */
const MAX_WORK = 10_000_000;

/** The longest integer, in bytes. */
const MAX_LONG_BYTES = 255;

/** What an {@link unpickle} is told. */
export interface UnpickleOptions {
  /** What a name stands for; undefined when it is not allowed. */
  readonly resolve: (name: string) => PyValue | undefined;
  /** What a persistent id stands for. Calls `refuse` when it cannot be. */
  readonly persistent: (id: PyValue, refuse: (problem: string) => never) => PyValue;
  /** Where in its file the pickle begins: offsets in errors count from the start of the file. */
  readonly offset?: number;
}

/**
 * The value of a pickle of protocol 2 to 5. A pickle is a program: this follows only the instructions that
 * put values together, and calls only what `resolve` gives. No recursion: however deep values nest, the stack
 * of this process does not.
 *
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) with the byte of the instruction, for a name that is not
 * allowed (it is in the message), an instruction that is not known or finds the stack otherwise than it needs
 * it, lengths beyond the end, more than 10,000,000 instructions or values given to constructors, an integer of
 * more than 255 bytes, and bytes after the end.
 */
export function unpickle(bytes: Uint8Array, options: UnpickleOptions): PyValue {
  return new Unpickler(bytes, options).run();
}

class Unpickler {
  readonly #in: PickleBytes;
  readonly #options: UnpickleOptions;
  readonly #stack: PyValue[] = [];
  /** Heights of the stack. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PyValue>();
  /** Where the present instruction begins. */
  #at = 0;
  #work = 0;

  /** What each instruction does, by its opcode. */
  readonly #steps: Readonly<Record<number, () => void>> = {
    [OP.PROTO]: () => this.#protocol(this.#in.byte()),
    // Only says how much to read at once.
    [OP.FRAME]: () => this.#in.length64(),

    [OP.NONE]: () => this.#push(null),
    [OP.NEWTRUE]: () => this.#push(true),
    [OP.NEWFALSE]: () => this.#push(false),
    [OP.BININT]: () => this.#push(this.#in.int32()),
    [OP.BININT1]: () => this.#push(this.#in.byte()),
    [OP.BININT2]: () => this.#push(this.#in.unsigned16()),
    [OP.LONG1]: () => this.#push(this.#long(this.#in.byte())),
    [OP.LONG4]: () => this.#push(this.#long(this.#in.unsigned32())),
    [OP.BINFLOAT]: () => this.#push(this.#in.float64()),
    [OP.BINUNICODE]: () => this.#push(this.#in.text(this.#in.unsigned32())),
    [OP.SHORT_BINUNICODE]: () => this.#push(this.#in.text(this.#in.byte())),
    [OP.BINUNICODE8]: () => this.#push(this.#in.text(this.#in.length64())),
    [OP.BINSTRING]: () => this.#push(this.#in.text(this.#in.unsigned32())),
    [OP.SHORT_BINSTRING]: () => this.#push(this.#in.text(this.#in.byte())),
    [OP.BINBYTES]: () => this.#push(this.#in.take(this.#in.unsigned32())),
    [OP.SHORT_BINBYTES]: () => this.#push(this.#in.take(this.#in.byte())),
    [OP.BINBYTES8]: () => this.#push(this.#in.take(this.#in.length64())),
    [OP.BYTEARRAY8]: () => this.#push(this.#in.take(this.#in.length64())),

    [OP.EMPTY_LIST]: () => this.#push([]),
    [OP.EMPTY_TUPLE]: () => this.#push(new PyTuple([])),
    [OP.EMPTY_DICT]: () => this.#push(new PyDict()),
    [OP.EMPTY_SET]: () => this.#push(new PySet()),
    [OP.TUPLE1]: () => this.#tuple(1),
    [OP.TUPLE2]: () => this.#tuple(2),
    [OP.TUPLE3]: () => this.#tuple(3),
    [OP.TUPLE]: () => this.#push(new PyTuple(this.#popMark())),
    [OP.LIST]: () => this.#push(this.#popMark()),
    [OP.FROZENSET]: () => this.#push(new PySet(this.#popMark())),
    [OP.DICT]: () => this.#dict(this.#popMark()),
    [OP.APPEND]: () => this.#append([this.#pop()]),
    [OP.APPENDS]: () => this.#append(this.#popMark()),
    [OP.SETITEM]: () => this.#setItems([this.#pop(), this.#pop()].reverse()),
    [OP.SETITEMS]: () => this.#setItems(this.#popMark()),
    [OP.ADDITEMS]: () => this.#addItems(this.#popMark()),

    [OP.MARK]: () => this.#marks.push(this.#stack.length),
    [OP.POP]: () => this.#discard(),
    [OP.POP_MARK]: () => this.#popMark(),
    [OP.DUP]: () => this.#push(this.#top()),
    [OP.BINPUT]: () => this.#remember(this.#in.byte()),
    [OP.LONG_BINPUT]: () => this.#remember(this.#in.unsigned32()),
    [OP.MEMOIZE]: () => this.#remember(this.#memo.size),
    [OP.BINGET]: () => this.#recall(this.#in.byte()),
    [OP.LONG_BINGET]: () => this.#recall(this.#in.unsigned32()),

    [OP.GLOBAL]: () => this.#global(this.#in.line(), this.#in.line()),
    [OP.STACK_GLOBAL]: () => this.#stackGlobal(this.#pop()),
    [OP.BINPERSID]: () => this.#persistent(this.#pop()),
    [OP.REDUCE]: () => this.#call(this.#pop()),
    [OP.NEWOBJ]: () => this.#call(this.#pop()),
    [OP.NEWOBJ_EX]: () => this.#callWith(this.#pop()),
    [OP.BUILD]: () => this.#build(this.#pop()),
  };

  constructor(bytes: Uint8Array, options: UnpickleOptions) {
    this.#options = options;
    this.#in = new PickleBytes(bytes, (problem, at) => this.#refuse(problem, at));
  }

  run(): PyValue {
    const input = this.#in;
    for (;;) {
      this.#at = input.position;
      this.#charge(1);
      const opcode = input.byte();
      if (opcode === OP.STOP) {
        const value = this.#pop();
        if (this.#stack.length > 0) this.#refuse('the pickle ends with values left over');
        if (!input.isAtEnd) this.#refuse('bytes follow the end of the pickle', input.position);
        return value;
      }
      const step = this.#steps[opcode];
      if (step === undefined) {
        this.#refuse(`the pickle instruction 0x${opcode.toString(16)} is not allowed`);
      }
      step();
    }
  }

  #charge(work: number): void {
    this.#work += work;
    if (this.#work > MAX_WORK) this.#refuse(`the pickle takes more than ${MAX_WORK} steps`);
  }

  #protocol(version: number): void {
    if (this.#at !== 0) this.#refuse('a pickle begins inside another');
    if (version < 2 || version > 5) {
      this.#refuse(`pickle protocol ${version} is not read: only 2 to 5 are`);
    }
  }

  #long(sizeBytes: number): number | bigint {
    if (sizeBytes > MAX_LONG_BYTES) this.#refuse(`an integer of ${sizeBytes} bytes is too long`);
    let value = 0n;
    const bytes = this.#in.take(sizeBytes);
    for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[i] as number);
    value = BigInt.asIntN(8 * sizeBytes, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #tuple(size: number): void {
    const items = Array.from({ length: size }, () => this.#pop());
    this.#push(new PyTuple(items.reverse()));
  }

  #dict(items: readonly PyValue[]): void {
    this.#push(new PyDict());
    this.#setItems(items);
  }

  #append(items: readonly PyValue[]): void {
    const target = this.#top();
    const list = target instanceof PyObject ? target.items : target;
    if (!Array.isArray(list)) this.#refuse('items are appended to what is no list');
    for (const item of items) list.push(item);
  }

  /** @param items keys and values by turns. */
  #setItems(items: readonly PyValue[]): void {
    const target = this.#top();
    const dict = target instanceof PyObject ? target.dict : target;
    if (!(dict instanceof PyDict)) this.#refuse('items are set in what is no dict');
    if (items.length % 2 !== 0) this.#refuse('a key has no value');
    for (let i = 0; i < items.length; i += 2) {
      dict.entries.set(items[i] as PyValue, items[i + 1] as PyValue);
    }
  }

  #addItems(items: readonly PyValue[]): void {
    const set = this.#top();
    if (!(set instanceof PySet)) this.#refuse('items are added to what is no set');
    for (const item of items) set.items.push(item);
  }

  /** Where a mark is on top, that is what goes. */
  #discard(): void {
    if (this.#marks.at(-1) === this.#stack.length) this.#marks.pop();
    else this.#pop();
  }

  #remember(index: number): void {
    this.#memo.set(index, this.#top());
  }

  #recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) this.#refuse(`nothing was remembered as ${index}`);
    this.#push(value as PyValue);
  }

  #global(module: PyValue, name: PyValue): void {
    if (typeof module !== 'string' || typeof name !== 'string') {
      this.#refuse('a name is not a string');
    }
    const path = `${module}.${name}`;
    const global = this.#options.resolve(path);
    if (global === undefined) {
      this.#refuse(
        `it asks for ${quote(path)}, which is not among the names that may stand in a checkpoint: nothing was ` +
          'run. If it is a class of hyper-parameters that you know, allow its name to read it as inert values; ' +
          "for a whole pickled model, save the model's state_dict() instead",
      );
    }
    this.#push(global as PyValue);
  }

  #stackGlobal(name: PyValue): void {
    this.#global(this.#pop(), name);
  }

  #persistent(id: PyValue): void {
    this.#push(this.#options.persistent(id, (problem) => this.#refuse(problem)));
  }

  #callWith(named: PyValue): void {
    if (!(named instanceof PyDict) || named.entries.size > 0) {
      this.#refuse('a class is called with named arguments, which is not allowed');
    }
    this.#call(this.#pop());
  }

  #call(args: PyValue): void {
    const callable = this.#pop();
    if (!(callable instanceof PyGlobal)) this.#refuse('what is called is no class');
    const { name, construct } = callable;
    if (construct === undefined) this.#refuse(`${name} may be named, but not called`);
    if (!(args instanceof PyTuple)) this.#refuse(`${name} is called with no tuple`);
    for (const arg of args.items) {
      this.#charge(sizeOf(arg));
      // One that calls another hands it a tuple of arguments.
      if (arg instanceof PyTuple) for (const inner of arg.items) this.#charge(sizeOf(inner));
    }
    this.#push(construct(args.items, (problem) => this.#refuse(`${name}: ${problem}`)));
  }

  #build(state: PyValue): void {
    const target = this.#top();
    if (target instanceof PyObject) target.state = state;
    // The attributes of a dict, such as `_metadata` of a state dict: values only, and not needed.
    else if (!(target instanceof PyDict)) this.#refuse('a state is given to what can have none');
  }

  #push(value: PyValue): void {
    this.#stack.push(value);
  }

  #pop(): PyValue {
    const value = this.#top();
    this.#stack.pop();
    return value;
  }

  /** The value on top, above the last mark. */
  #top(): PyValue {
    if (this.#stack.length <= (this.#marks.at(-1) ?? 0)) this.#refuse('the stack is empty');
    return this.#stack.at(-1) as PyValue;
  }

  #popMark(): PyValue[] {
    const height = this.#marks.pop();
    if (height === undefined) this.#refuse('there is no mark on the stack');
    return this.#stack.splice(height);
  }

  #refuse(problem: string, at: number = this.#at): never {
    const byteOffset = (this.#options.offset ?? 0) + at;
    throw new CheckpointFileError(`${problem} (byte ${byteOffset})`, { byteOffset });
  }
}

/** How much a constructor may have to go through. */
function sizeOf(value: PyValue): number {
  if (value instanceof PyTuple || value instanceof PySet) return value.items.length;
  if (value instanceof PyDict) return value.entries.size;
  if (typeof value === 'string' || value instanceof Uint8Array || Array.isArray(value)) {
    return value.length;
  }
  return 1;
}
