import { MisconfigurationError } from '../../../errors.ts';
import { OP } from './opcodes.ts';
import { PyDict, PyGlobal, PyTuple, type PyValue } from './python-values.ts';

/** A value that a pickle makes by calling a name: `name(*args)`. */
export class PyCall {
  readonly callable: string;
  readonly args: readonly Picklable[];

  constructor(callable: string, args: readonly Picklable[]) {
    this.callable = callable;
    this.args = args;
  }
}

/** A value that whoever reads the pickle has elsewhere, under this id. */
export class PyPersistent {
  readonly id: Picklable;

  constructor(id: Picklable) {
    this.id = id;
  }
}

/** What can be written: Python's plain values, names, calls and persistent ids, nested at will. */
export type Picklable = PyValue | PyCall | PyPersistent | Picklable[] | PicklableDict;

/** A dict whose values may be calls. */
export type PicklableDict = ReadonlyMap<string | number, Picklable>;

/**
 * A value as a pickle of protocol 2, in the few instructions that `torch.load(weights_only=True)` follows.
 * Whole numbers become ints, others (and -0, and what ints of JavaScript cannot hold) floats. A text that
 * stands more than once is written once and remembered, as a name is.
 */
export function pickle(value: Picklable): Uint8Array {
  const pickler = new Pickler();
  pickler.write(value);
  return pickler.finish();
}

class Pickler {
  #bytes = new Uint8Array(1024);
  #length = 0;
  readonly #memo = new Map<string, number>();

  constructor() {
    this.#put(OP.PROTO, 2);
  }

  finish(): Uint8Array {
    this.#put(OP.STOP);
    return this.#bytes.slice(0, this.#length);
  }

  write(value: Picklable): void {
    if (value === null) this.#put(OP.NONE);
    else if (typeof value === 'boolean') this.#put(value ? OP.NEWTRUE : OP.NEWFALSE);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'bigint') this.#long(value);
    else if (typeof value === 'string') this.#text(value);
    else if (value instanceof PyGlobal) this.#global(value.name);
    else if (value instanceof PyTuple) this.#tuple(value.items);
    else if (value instanceof PyDict) this.#dict(value.entries);
    else if (value instanceof Map) this.#dict(value);
    else if (Array.isArray(value)) this.#list(value);
    else if (value instanceof PyCall) {
      this.#global(value.callable);
      this.#tuple(value.args);
      this.#put(OP.REDUCE);
    } else if (value instanceof PyPersistent) {
      this.write(value.id);
      this.#put(OP.BINPERSID);
    } else {
      throw new MisconfigurationError(`a ${value.constructor.name} cannot be pickled`);
    }
  }

  #number(value: number): void {
    if (!Number.isSafeInteger(value) || Object.is(value, -0)) {
      this.#fixed(OP.BINFLOAT, 8, (view) => view.setFloat64(0, value, false));
    } else if (value >= 0 && value < 0x100) {
      this.#put(OP.BININT1, value);
    } else if (value >= -(2 ** 31) && value < 2 ** 31) {
      this.#fixed(OP.BININT, 4, (view) => view.setInt32(0, value, true));
    } else {
      this.#long(BigInt(value));
    }
  }

  /** In two's complement, in as few bytes as hold the sign. */
  #long(value: bigint): void {
    let sizeBytes = 1;
    while (BigInt.asIntN(8 * sizeBytes, value) !== value) sizeBytes++;
    const bytes = Array.from({ length: sizeBytes }, (_, i) =>
      Number((value >> BigInt(8 * i)) & 0xffn),
    );
    this.#put(OP.LONG1, sizeBytes, ...bytes);
  }

  #text(text: string): void {
    if (this.#recall(text)) return;
    const bytes = new TextEncoder().encode(text);
    this.#fixed(OP.BINUNICODE, 4, (view) => view.setUint32(0, bytes.length, true));
    this.#append(bytes);
    this.#remember(text);
  }

  #global(name: string): void {
    const key = `\0${name}`;
    if (this.#recall(key)) return;
    const dot = name.lastIndexOf('.');
    this.#put(OP.GLOBAL);
    this.#append(new TextEncoder().encode(`${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`));
    this.#remember(key);
  }

  #tuple(items: readonly Picklable[]): void {
    const short = [OP.EMPTY_TUPLE, OP.TUPLE1, OP.TUPLE2, OP.TUPLE3][items.length];
    if (short === undefined) this.#put(OP.MARK);
    for (const item of items) this.write(item);
    this.#put(short ?? OP.TUPLE);
  }

  #list(items: readonly Picklable[]): void {
    this.#put(OP.EMPTY_LIST);
    if (items.length === 0) return;
    this.#put(OP.MARK);
    for (const item of items) this.write(item);
    this.#put(OP.APPENDS);
  }

  #dict(entries: ReadonlyMap<PyValue, Picklable>): void {
    this.#put(OP.EMPTY_DICT);
    if (entries.size === 0) return;
    this.#put(OP.MARK);
    for (const [key, value] of entries) {
      this.write(key);
      this.write(value);
    }
    this.#put(OP.SETITEMS);
  }

  #recall(key: string): boolean {
    const index = this.#memo.get(key);
    if (index === undefined) return false;
    this.#indexed(OP.BINGET, OP.LONG_BINGET, index);
    return true;
  }

  #remember(key: string): void {
    const index = this.#memo.size;
    this.#memo.set(key, index);
    this.#indexed(OP.BINPUT, OP.LONG_BINPUT, index);
  }

  #indexed(short: number, long: number, index: number): void {
    if (index < 0x100) this.#put(short, index);
    else this.#fixed(long, 4, (view) => view.setUint32(0, index, true));
  }

  #fixed(opcode: number, sizeBytes: number, set: (view: DataView) => void): void {
    this.#put(opcode);
    const bytes = new Uint8Array(sizeBytes);
    set(new DataView(bytes.buffer));
    this.#append(bytes);
  }

  #put(...bytes: number[]): void {
    this.#append(bytes);
  }

  #append(bytes: ArrayLike<number>): void {
    if (this.#length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(2 * (this.#length + bytes.length));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }
}
