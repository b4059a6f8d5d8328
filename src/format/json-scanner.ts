const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const UNSIGNED = /0|[1-9]\d*/y;
const SPACE = /[ \t\n\r]*/y;
const HEX4 = /[0-9a-fA-F]{4}/y;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const LETTER_U = 0x75;

/** What may stand behind a backslash, beside `u`. */
const ESCAPED: ReadonlySet<number> = new Set(
  Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)),
);

/** Up to so many keys are looked through faster than a set is made. */
const FEW_KEYS = 8;

/** Throws the error for what is wrong at `position`, an index into the scanned text. */
export type Refuse = (message: string, position: number) => never;

/**
 * Reads JSON text (RFC 8259) one expected thing after another, in one pass and with no more memory than
 * its results. Unlike `JSON.parse` it knows where it is, refuses a key that stands twice in an object,
 * refuses `__proto__` as a key, and never recurses by itself: who calls it decides how deep to go.
 *
 * Every method skips the white space before the thing it reads, and refuses what is not that thing.
 */
export class JsonScanner {
  readonly #text: string;
  readonly #refuse: Refuse;
  /** Of the objects being read, the outermost first; of each the first few. */
  readonly #keys: string[] = [];
  #position = 0;

  constructor(text: string, refuse: Refuse) {
    this.#text = text;
    this.#refuse = refuse;
  }

  /** The first character of the next thing, `''` at the end of the text. Consumes only white space. */
  peek(): string {
    this.#skipSpace();
    return this.#text[this.#position] ?? '';
  }

  #skipSpace(): void {
    if (this.#text.charCodeAt(this.#position) > 0x20) return;
    SPACE.lastIndex = this.#position;
    SPACE.test(this.#text);
    this.#position = SPACE.lastIndex;
  }

  /** Where the next thing begins, as an index into the text. */
  next(): number {
    this.#skipSpace();
    return this.#position;
  }

  /** Refuses the thing at `position`: by default the next one. */
  fail(message: string, position: number = this.next()): never {
    return this.#refuse(message, position);
  }

  /** Reads an object. For each member `read` is given the key, and must read the value. */
  object(what: string, read: (key: string, keyPosition: number) => void): void {
    if (!this.#take(OPEN_BRACE)) this.#unexpected(what);
    if (this.#take(CLOSE_BRACE)) return;
    // The keys of the objects that this one lies in stand before its own.
    const before = this.#keys.length;
    let many: Set<string> | undefined;
    do {
      const keyPosition = this.next();
      const key = this.string('a key in double quotes');
      if (key === '__proto__') this.fail('the key "__proto__" is not allowed', keyPosition);
      if (many?.has(key) ?? this.#keys.includes(key, before))
        this.fail(`the key ${quote(key)} stands twice`, keyPosition);
      if (many !== undefined) many.add(key);
      else if (this.#keys.push(key) - before > FEW_KEYS) many = new Set(this.#keys.slice(before));
      if (!this.#take(COLON)) this.#unexpected("':'");
      read(key, keyPosition);
    } while (this.#take(COMMA));
    this.#keys.length = before;
    if (!this.#take(CLOSE_BRACE)) this.#unexpected("',' or '}'");
  }

  /** Reads an array. For each item `read` is called, and must read it. */
  array(what: string, read: () => void): void {
    if (!this.#take(OPEN_BRACKET)) this.#unexpected(what);
    if (this.#take(CLOSE_BRACKET)) return;
    do read();
    while (this.#take(COMMA));
    if (!this.#take(CLOSE_BRACKET)) this.#unexpected("',' or ']'");
  }

  /** Reads a string. It may hold lone surrogates, if they were written as `\ud800`. */
  string(what: string): string {
    if (!this.#take(QUOTE)) this.#unexpected(what);
    const text = this.#text;
    const start = this.#position;
    let end = start;
    let escaped = false;
    for (;;) {
      const code = text.charCodeAt(end);
      if (code === QUOTE) break;
      if (code === 0x5c) {
        escaped = true;
        end += this.#escapeLength(end);
      } else if (code >= 0x20) {
        end++;
      } else if (end >= text.length) {
        this.fail('the text ends inside a string', text.length);
      } else {
        this.fail('a control character stands in a string', end);
      }
    }
    this.#position = end + 1;
    return escaped
      ? (JSON.parse(text.slice(start - 1, end + 1)) as string)
      : text.slice(start, end);
  }

  /** Reads a number. Refuses one that is too large for a double. */
  number(what: string): number {
    const start = this.next();
    const value = Number(this.#match(NUMBER) ?? this.#unexpected(what));
    return Number.isFinite(value) ? value : this.fail('the number is too large', start);
  }

  /** Reads a whole number in [0, 2 ** 53), spelt with digits only. */
  unsigned(what: string): number {
    const start = this.next();
    const value = Number(this.#match(UNSIGNED) ?? this.#unexpected(what));
    return Number.isSafeInteger(value) ? value : this.fail('the number is too large', start);
  }

  /** Reads one of the words `true`, `false` and `null`. */
  word(word: string, what: string): void {
    if (!this.#text.startsWith(word, this.next())) this.#unexpected(what);
    this.#position += word.length;
  }

  /** Makes sure that nothing but white space is left. */
  end(): void {
    if (this.peek() !== '') this.#unexpected('nothing more');
  }

  #take(code: number): boolean {
    this.#skipSpace();
    if (this.#text.charCodeAt(this.#position) !== code) return false;
    this.#position++;
    return true;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#position;
    if (!pattern.test(this.#text)) return undefined;
    const start = this.#position;
    this.#position = pattern.lastIndex;
    return this.#text.slice(start, this.#position);
  }

  #escapeLength(backslash: number): number {
    const kind = this.#text.charCodeAt(backslash + 1);
    // Nearly all stand before a quote: a document is JSON in a string.
    if (kind === QUOTE) return 2;
    if (kind === LETTER_U) {
      HEX4.lastIndex = backslash + 2;
      if (HEX4.test(this.#text)) return 6;
    } else if (ESCAPED.has(kind)) {
      return 2;
    }
    return this.fail('a backslash in a string starts no known escape', backslash);
  }

  #unexpected(what: string): never {
    const found = this.peek();
    return this.fail(`expected ${what}, found ${found === '' ? 'the end' : quote(found)}`);
  }
}

/** Text in double quotes for a message: escaped, and cut when it is long. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 79)}…` : text);
}
