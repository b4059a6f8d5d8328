import { CheckpointFileError } from '../../errors.ts';
import { type JsonValue, TensorRef } from '../../format/json.ts';
import type { LeftOut } from './left-out.ts';
import {
  PyDict,
  PyGlobal,
  PyObject,
  PySet,
  PyTuple,
  type PyValue,
  spell,
} from './pickle/python-values.ts';
import { TorchDType, TorchTensor } from './tensor.ts';

/** The deepest nesting: that of a checkpoint's document is 100, and it is put a few levels into one. */
const MAX_DEPTH = 90;

/** The most values: a pickle of a few bytes can mention one list a billion times. */
const MAX_VALUES = 1_000_000;

/** The most letters of all texts: a header, which they are put into, holds 100 MB. */
const MAX_LETTERS = 50_000_000;

/**
 * Values of Python as JSON: tuples and sets become arrays, keys that are ints become text, ints beyond 2 ** 53
 * text, names and dtypes their names, objects their attributes, tensors `TensorRef`s (or numbers, where they
 * are given). What has no spelling (bytes, other keys) is left out, and told.
 */
export class PythonJson {
  readonly #tensors: TorchTensor[] = [];
  readonly #scalars: ReadonlyMap<TorchTensor, number>;
  readonly #leftOut: LeftOut;
  #values = 0;
  #letters = 0;

  /**
   * @param scalars tensors of one element, by what they hold.
   * @param leftOut is told what JSON cannot hold, by its path.
   */
  constructor(scalars: ReadonlyMap<TorchTensor, number>, leftOut: LeftOut) {
    this.#scalars = scalars;
    this.#leftOut = leftOut;
  }

  /** Tensors that a `TensorRef` stands for: its name is their index. */
  get tensors(): readonly TorchTensor[] {
    return this.#tensors;
  }

  /**
   * @param path where the value stands, for messages.
   * @returns undefined when it is left out.
   * @throws CheckpointFileError for values nested more than 90 levels deep (also those that contain themselves),
   * for more than 1,000,000 of them, and for texts of more than 50,000,000 letters.
   */
  of(value: PyValue, path: string, depth = 0): JsonValue | undefined {
    this.#values++;
    if (depth > MAX_DEPTH) refuse(path, `nested more than ${MAX_DEPTH} levels deep`);
    if (this.#values > MAX_VALUES) refuse(path, 'too many');
    if (typeof value === 'string') return this.#text(value, path);
    if (typeof value !== 'object' || value === null) {
      return typeof value === 'bigint' ? String(value) : value;
    }
    if (value instanceof TorchTensor) return this.#tensor(value);
    if (value instanceof PyTuple || value instanceof PySet)
      return this.#list(value.items, path, depth);
    if (Array.isArray(value)) return this.#list(value, path, depth);
    if (value instanceof PyDict) return this.#members(value, path, depth);
    if (value instanceof PyGlobal) return value.name;
    if (value instanceof TorchDType) return `torch.${value.name}`;
    if (value instanceof PyObject) return this.of(contentOf(value), path, depth + 1);
    this.#leftOut.add(path, spell(value));
    return undefined;
  }

  #text(text: string, path: string): string {
    this.#letters += text.length;
    if (this.#letters > MAX_LETTERS) refuse(path, 'too long');
    return text;
  }

  #tensor(tensor: TorchTensor): JsonValue {
    const scalar = this.#scalars.get(tensor);
    if (scalar !== undefined) return scalar;
    this.#tensors.push(tensor);
    return new TensorRef(String(this.#tensors.length - 1));
  }

  /** What has no spelling keeps its place in a list. */
  #list(items: readonly PyValue[], path: string, depth: number): JsonValue {
    return items.map((item, i) => this.of(item, `${path}[${i}]`, depth + 1) ?? null);
  }

  #members(dict: PyDict, path: string, depth: number): JsonValue {
    const members: Record<string, JsonValue> = {};
    for (const [key, value] of dict.entries) {
      const name = nameOf(key);
      if (name === undefined || name === '__proto__') {
        this.#leftOut.add(`${path}[${spell(key)}]`, 'a key that JSON cannot have');
        continue;
      }
      const shown = spell(name);
      const member = this.of(value, path === '' ? shown : `${path}.${shown}`, depth + 1);
      this.#text(name, path);
      if (member !== undefined) members[name] = member;
    }
    return members;
  }
}

function refuse(path: string, problem: string): never {
  throw new CheckpointFileError(`the values of '${path.slice(0, 200)}' are ${problem}`);
}

function nameOf(key: PyValue): string | undefined {
  if (typeof key === 'string') return key;
  if (typeof key === 'number' || typeof key === 'bigint') return String(key);
  return key instanceof PyGlobal ? key.name : undefined;
}

/** The most telling part of an object: what it holds as a dict, as a list, its attributes, its arguments. */
function contentOf({ args, items, dict, state }: PyObject): PyValue {
  if (dict.entries.size > 0) return dict;
  if (items.length > 0) return items;
  return state ?? new PyTuple(args);
}
