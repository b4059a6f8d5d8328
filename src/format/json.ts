import { CheckpointFileError, MisconfigurationError } from '../errors.ts';
import { JsonScanner, quote, type Refuse } from './json-scanner.ts';

/** How deep arrays and objects may be nested, the outermost counted as 1. */
const MAX_DEPTH = 100;

const NO_TENSORS: ReadonlySet<string> = new Set();

/** Stands in a {@link JsonValue} for a tensor that is stored beside it, under this name. */
export class TensorRef {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  /** As {@link encodeJson} spells it. */
  toJSON(): { readonly $tensor: string } {
    return { $tensor: this.name };
  }
}

/**
 * What JSON holds, with every number (also NaN, ±Infinity and -0), and with {@link TensorRef}s. A
 * member of an object that is `undefined` counts as absent.
 */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | TensorRef
  | readonly JsonValue[]
  | JsonObject;

/** A plain object of {@link JsonValue}s. */
export interface JsonObject {
  readonly [key: string]: JsonValue | undefined;
}

/**
 * A value as JSON text, so that {@link decodeJson} gives back the very same value.
 *
 * It is plain JSON with three additions. What JSON has no word for is an object with one key that
 * begins with a single `$`: `{"$number":"NaN"}` (or `Infinity`, `-Infinity`) and `{"$tensor":"name"}`.
 * Keys of one's own that begin with `$` are written with one more `$`, so none can be mistaken for
 * these. Negative zero is `-0.0`. Members keep their order, and equal values give equal text.
 *
 * @param tensors the names that a {@link TensorRef} may have; none when absent.
 * @throws MisconfigurationError (`MISCONFIGURATION`), naming the path as in `hyperParameters.lr`, for a
 * bigint, function, symbol, class instance, cycle, an `undefined` that is not an object's member, the
 * key `__proto__`, a reference to another tensor, and nesting of more than 100 arrays and objects.
 */
export function encodeJson(value: JsonValue, tensors: ReadonlySet<string> = NO_TENSORS): string {
  const path: (string | number)[] = [];
  const ancestors = new Set<object>();

  const refuse = (what: string): never => {
    throw new MisconfigurationError(`${spellPath(path)} ${what}`, { details: { path } });
  };

  const write = (value: unknown): string => {
    switch (typeof value) {
      case 'string':
        return JSON.stringify(value);
      case 'boolean':
        return String(value);
      case 'number':
        if (!Number.isFinite(value)) return `{"$number":"${value}"}`;
        return Object.is(value, -0) ? '-0.0' : String(value);
      case 'object':
        return value === null ? 'null' : writeObject(value);
      case 'undefined':
        return refuse('is undefined, which JSON cannot hold: use null');
      default:
        return refuse(`is a ${typeof value}, which a checkpoint cannot hold`);
    }
  };

  const writeObject = (value: object): string => {
    if (value instanceof TensorRef) {
      if (!tensors.has(value.name))
        refuse(`refers to ${quote(value.name)}, and no tensor has that name`);
      return `{"$tensor":${JSON.stringify(value.name)}}`;
    }
    if (ancestors.has(value)) refuse('contains itself');
    if (ancestors.size === MAX_DEPTH) refuse(`is nested more than ${MAX_DEPTH} levels deep`);
    ancestors.add(value);
    const text = Array.isArray(value) ? writeItems(value) : writeMembers(value);
    ancestors.delete(value);
    return text;
  };

  const writeItems = (items: readonly unknown[]): string => {
    let text = '';
    for (let i = 0; i < items.length; i++) {
      path.push(i);
      text += `${i > 0 ? ',' : ''}${write(items[i])}`;
      path.pop();
    }
    return `[${text}]`;
  };

  const writeMembers = (members: object): string => {
    if (!isPlain(members)) {
      refuse(`is an instance of ${members.constructor?.name || 'a class'}, not a plain object`);
    }
    if (Object.getOwnPropertySymbols(members).length > 0) refuse('has a key that is a symbol');
    let text = '';
    for (const key of Object.keys(members)) {
      const member = (members as JsonObject)[key];
      if (member === undefined) continue;
      path.push(key);
      if (key === '__proto__') refuse('has a key that is not allowed');
      const spelt = JSON.stringify(key.startsWith('$') ? `$${key}` : key);
      text += `${text === '' ? '' : ','}${spelt}:${write(member)}`;
      path.pop();
    }
    return `{${text}}`;
  };

  return write(value);
}

/** How {@link decodeJson} reads. */
export interface DecodeJsonOptions {
  /** The names that a reference to a tensor may have; none when absent. */
  readonly tensors?: ReadonlySet<string>;
  /** Throws the error for what is wrong at an index into the text. */
  readonly refuse?: Refuse;
}

/**
 * The value that {@link encodeJson} wrote, in plain objects and arrays.
 *
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`, `byteOffset` counted from the start of the text in
 * UTF-8), or what `refuse` throws, for text that is not JSON, a key that stands twice, the key
 * `__proto__`, a tag that is not known, a reference to a tensor that is not there, a number too large
 * for a double, and nesting of more than 100 arrays and objects.
 */
export function decodeJson(text: string, options: DecodeJsonOptions = {}): JsonValue {
  const { tensors = NO_TENSORS, refuse = refuseText(text) } = options;
  const scanner = new JsonScanner(text, refuse);

  const read = (depth: number): JsonValue => {
    switch (scanner.peek()) {
      case '{':
        return readObject(depth);
      case '[':
        return readArray(depth);
      case '"':
        return scanner.string('a string');
      case 't':
        scanner.word('true', 'a value');
        return true;
      case 'f':
        scanner.word('false', 'a value');
        return false;
      case 'n':
        scanner.word('null', 'a value');
        return null;
      default:
        return scanner.number('a value');
    }
  };

  const checkDepth = (depth: number, start: number): void => {
    if (depth > MAX_DEPTH) scanner.fail(`nested more than ${MAX_DEPTH} levels deep`, start);
  };

  const readArray = (depth: number): JsonValue => {
    checkDepth(depth, scanner.next());
    const items: JsonValue[] = [];
    scanner.array('an array', () => items.push(read(depth + 1)));
    return items;
  };

  const readObject = (depth: number): JsonValue => {
    const start = scanner.next();
    const members: Record<string, JsonValue> = {};
    let tagged: JsonValue | undefined;
    let size = 0;
    scanner.object('an object', (key, keyPosition) => {
      const isTag = key.startsWith('$') && !key.startsWith('$$');
      if (tagged !== undefined || (isTag && size > 0)) {
        scanner.fail('a tag must stand alone in its object', keyPosition);
      }
      size++;
      if (isTag) {
        tagged = readTagged(key, keyPosition);
      } else {
        checkDepth(depth, start);
        members[key.startsWith('$') ? key.slice(1) : key] = read(depth + 1);
      }
    });
    if (tagged === undefined) checkDepth(depth, start);
    return tagged ?? members;
  };

  const readTagged = (tag: string, tagPosition: number): JsonValue => {
    const start = scanner.next();
    const content = scanner.string('a string');
    if (tag === '$tensor') {
      if (!tensors.has(content)) scanner.fail(`there is no tensor ${quote(content)}`, start);
      return new TensorRef(content);
    }
    if (tag !== '$number') scanner.fail(`the tag ${quote(tag)} is not known`, tagPosition);
    if (!/^(NaN|-?Infinity)$/.test(content)) scanner.fail('not a number that needs a tag', start);
    return Number(content);
  };

  const value = read(1);
  scanner.end();
  return value;
}

function refuseText(text: string): Refuse {
  return (message, position) => {
    const byteOffset = new TextEncoder().encode(text.slice(0, position)).length;
    throw new CheckpointFileError(`not valid JSON: ${message} (byte ${byteOffset})`, {
      byteOffset,
    });
  };
}

/** Also true for objects of another realm, whose `Object.prototype` is not ours. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

function spellPath(path: readonly (string | number)[]): string {
  if (path.length === 0) return 'The value';
  return path
    .map((part, i) => {
      if (typeof part === 'number') return `[${part}]`;
      if (!/^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(part)) return `[${JSON.stringify(part)}]`;
      return i === 0 ? part : `.${part}`;
    })
    .join('');
}
