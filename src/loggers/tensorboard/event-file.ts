import { appendText, replaceText, truncate } from '../durable-file.ts';
import { versionEvent } from './event.ts';
import { concat } from './protobuf.ts';
import { record } from './record.ts';

/**
 * An event file that grows at its end. Events are kept until {@link flush}; when that fails they stay kept,
 * and the next one tries again.
 */
export class EventFile {
  readonly path: string;
  #kept: Uint8Array[] = [];
  #bytesKept = 0;
  #bytesInFile = 0;
  #isDurable = true;

  private constructor(path: string) {
    this.path = path;
  }

  /** A new file, which is there after the first flush. */
  static begin(path: string, wallTime: number): EventFile {
    const file = new EventFile(path);
    file.add(versionEvent(wallTime));
    return file;
  }

  /** Goes on with a file as it was when it had `bytes` bytes; undefined when it has not got that many. */
  static async goOn(path: string, bytes: number): Promise<EventFile | undefined> {
    if (!(await truncate(path, bytes))) return undefined;
    const file = new EventFile(path);
    file.#bytesInFile = bytes;
    return file;
  }

  /** Its size once everything kept is written. */
  get bytes(): number {
    return this.#bytesInFile + this.#bytesKept;
  }

  /** Events that are not in the file yet. */
  get keptEvents(): number {
    return this.#kept.length;
  }

  add(event: Uint8Array): void {
    const framed = record(event);
    this.#kept.push(framed);
    this.#bytesKept += framed.length;
  }

  /** Writes out the events kept; `isDurable`: they, and all before, survive a power cut. */
  async flush(isDurable: boolean): Promise<void> {
    const count = this.#kept.length;
    if (count === 0 && (!isDurable || this.#isDurable)) return;
    const added = concat(this.#kept);
    if (this.#bytesInFile === 0) await replaceText(this.path, added);
    else if (!(await appendText(this.path, added, isDurable))) {
      throw new Error(`${this.path} is gone, and with it the points logged so far.`);
    }
    this.#isDurable = isDurable || this.#bytesInFile === 0;
    this.#bytesInFile += added.length;
    this.#bytesKept -= added.length;
    this.#kept.splice(0, count);
  }
}
