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

/** The longest text that stands in a message. */
const LONGEST_TEXT = 80;

/**
 * A value in a few words, for messages: a plain one as it is, of any other what it is. It looks into none: what a
 * pickle nests can be endlessly deep, and its lists can stand in each other again and again.
 */
export function spell(value: PyValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'None';
  if (typeof value === 'string') {
    return value.length > LONGEST_TEXT ? `${value.slice(0, LONGEST_TEXT - 1)}…` : value;
  }
  if (typeof value !== 'object') return String(value);
  if (value instanceof PyGlobal) return value.name;
  if (value instanceof PyNative) return `a ${value.kind}`;
  if (value instanceof PyObject) return `a ${value.className}`;
  if (value instanceof Uint8Array) return 'bytes';
  if (value instanceof PyTuple) return 'a tuple';
  if (value instanceof PyDict) return 'a dict';
  return value instanceof PySet ? 'a set' : 'a list';
}
