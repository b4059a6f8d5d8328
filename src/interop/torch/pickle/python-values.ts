/**
 * A value of Python as it is read, or to be written. Numbers are ints and floats alike (an int that no
 * double holds exactly is a bigint); lists are arrays, `bytes` a Uint8Array, `None` is null.
 */
export type PyValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | PyValue[]
  | PyTuple
  | PyDict
  | PySet
  | PyGlobal
  | PyObject
  | PyNative;

export class PyTuple {
  readonly items: readonly PyValue[];

  constructor(items: readonly PyValue[]) {
    this.items = items;
  }
}

/** A dict, an OrderedDict or a class that is no more than one. Keys that are tuples are told apart by identity. */
export class PyDict {
  readonly entries: Map<PyValue, PyValue> = new Map();

  static of(entries: Iterable<readonly [PyValue, PyValue]>): PyDict {
    const dict = new PyDict();
    for (const [key, value] of entries) dict.entries.set(key, value);
    return dict;
  }

  get(key: string): PyValue | undefined {
    return this.entries.get(key);
  }
}

export class PySet {
  readonly items: PyValue[];

  constructor(items: Iterable<PyValue> = []) {
    this.items = [...items];
  }
}

/** The base of values that a constructor makes of its own, such as tensors. */
export abstract class PyNative {
  /** What it is, for messages. */
  abstract readonly kind: string;
}

/** Makes a value of what a constructor is called with; calls `refuse` when it cannot be. Never runs anything else. */
export type Construct = (args: readonly PyValue[], refuse: (problem: string) => never) => PyValue;

/** A name of a Python module, as `collections.OrderedDict`. */
export class PyGlobal {
  readonly name: string;
  /** Undefined for one that may be mentioned, but not called. */
  readonly construct: Construct | undefined;

  constructor(name: string, construct?: Construct) {
    this.name = name;
    this.construct = construct;
  }
}

/** An object of a class, inert: what the pickle gives to it, and nothing done with it. */
export class PyObject {
  readonly className: string;
  readonly args: readonly PyValue[];
  /** What it would hold as a subclass of list, and of dict. */
  readonly items: PyValue[] = [];
  readonly dict: PyDict = new PyDict();
  /** Its attributes, as a rule a dict. */
  state: PyValue = null;

  constructor(className: string, args: readonly PyValue[] = []) {
    this.className = className;
    this.args = args;
  }
}
