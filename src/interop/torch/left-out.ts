/** The most lines: what is left out of a hostile file can be a million things. */
const MAX_LINES = 1000;

/** How much of a path is shown. */
const MAX_PATH_LENGTH = 200;

/** What of a file could not be taken over. */
export class LeftOut {
  readonly #lines: string[] = [];
  #more = 0;

  add(path: string, what: string): void {
    if (this.#lines.length === MAX_LINES) this.#more++;
    else this.#lines.push(`${path.slice(0, MAX_PATH_LENGTH)} (${what})`);
  }

  /** A line each, of the first 1,000. */
  get lines(): readonly string[] {
    return this.#more === 0 ? this.#lines : [...this.#lines, `and ${this.#more} more`];
  }
}
